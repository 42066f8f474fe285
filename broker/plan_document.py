"""The plan as a document: schema `mlbroker.plan/2` (see `mlbroker schema plan`)."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mlbroker.broker.words import exact_usd, exact_usd_or_none, utc_second
from mlbroker.policies.embodied import Embodied
from mlbroker.policies.planner.node_counts import AtCount
from mlbroker.policies.planner.plan import Plan
from mlbroker.policies.quote import Quote
from mlbroker.pricing.book import Snapshot
from mlbroker.pricing.embodied import METHOD
from mlbroker.profiles.job import Objective, ObjectiveKind, Replicas
from mlbroker.profiles.service import Measured

if TYPE_CHECKING:
    # Loads numpy, which few plans ask for.
    from mlbroker.policies.service.demand import Chosen
    from mlbroker.policies.when import Start, When

SCHEMA = "mlbroker.plan/2"


def plan_document(
    plan: Plan,
    *,
    explain: bool,
    when: "When | None" = None,
    embodied: Embodied | None = None,
    measured: Measured | None = None,
    chosen: "Chosen | None" = None,
) -> dict[str, Any]:
    """The whole plan; money as decimal strings. `rejected` is there only when explained, `when` and
    embodied carbon only when they were asked for, a replica's capacity only once it was `measured`,
    and a service's fleets only where they were `chosen`.
    """

    def quoted(quote: Quote | None) -> dict[str, Any] | None:
        found = quote_document(quote)
        if embodied is not None and quote is not None and found is not None:
            found["embodied_kgco2e"] = embodied.kgco2e(quote)
        return found

    document: dict[str, Any] = {
        "schema": SCHEMA,
        "generated_at": utc_second(plan.generated_at),
        "job": {
            "name": plan.job.name,
            "fingerprint": plan.job.fingerprint(),
            "steps": plan.constraints.steps,
            "num_nodes": plan.constraints.nodes,
            "measurements": plan.measurements,
        },
        "prices": snapshot_document(plan.snapshot),
        "objective": objective_document(plan.constraints.objective),
        "deadline_s": plan.constraints.deadline_s,
        "confidence": plan.constraints.confidence,
        "budget_usd": exact_usd_or_none(plan.constraints.budget_usd),
        "choice": quoted(plan.choice),
        "feasible": plan.feasible,
        "quotes": [quoted(quote) for quote in plan.quotes],
        "rejections": {str(reason): count for reason, count in sorted(plan.rejections.items())},
        "baseline": quoted(plan.baseline),
        "savings_usd": exact_usd_or_none(plan.savings_usd),
        "unjudged": list(plan.unjudged),
    }
    if plan.job.replicas is not None:
        hourly = None if plan.choice is None else plan.choice.hourly_usd
        document["replicas"] = replicas_document(plan.job.replicas, hourly)
        if measured is not None:
            document["replicas"]["capacity"] = capacity_document(measured, hourly)
        if chosen is not None and plan.job.service is not None:
            from mlbroker.broker.service_document import fleets_document

            document["replicas"]["fleets"] = fleets_document(chosen, plan.job.service.month_usd)
    if explain:
        document["rejected"] = [_record(item) for item in plan.rejected]
    if plan.near_miss is not None:
        document["near_miss"] = _record(plan.near_miss)
    if embodied is not None:
        document["embodied_method"] = METHOD
    if when is not None:
        document["when"] = when_document(when)
    return document


def replicas_document(replicas: Replicas, hourly_usd: Decimal | None) -> dict[str, Any]:
    """How many of a service or a pool run, and what all of them cost an hour and a month."""
    document: dict[str, Any] = {
        "kind": replicas.kind,
        "least": replicas.least,
        "most": replicas.most,
        "hourly_usd": None,
        "monthly_usd": None,
    }
    if hourly_usd is not None:
        hourly = replicas.least * hourly_usd, replicas.most * hourly_usd
        for name, told in (("hourly", hourly), ("monthly", replicas.monthly_usd(hourly_usd))):
            least, most = map(exact_usd, told)
            document[f"{name}_usd"] = {"least": least, "most": most}
    return document


def capacity_document(measured: Measured, hourly_usd: Decimal | None) -> dict[str, Any]:
    """What a replica serves a second, where that was measured, and what requests cost at the
    choice by the lower bound."""
    each = None if hourly_usd is None else float(hourly_usd) / 3.6 / measured.low_rps
    return {
        "rps": measured.rps,
        "low_rps": measured.low_rps,
        "measured_on": measured.config,
        "tokens_per_request": measured.tokens,
        "usd_per_1000_requests": each,
    }


def when_document(when: "When") -> dict[str, Any]:
    """Where and when to start: each region's least carbon, least first, and the plan's choice."""
    return {
        "signal": str(when.signal),
        "regions": [_start_document(start) for start in when.regions],
        "choice": None if when.choice is None else _start_document(when.choice),
        "choice_not_shifted": when.not_shifted,
        "untold": [{"place": place, "why": why} for place, why in sorted(when.untold.items())],
    }


def _start_document(start: "Start") -> dict[str, Any]:
    quote = start.quote
    names = ("cloud", "region", "instance_type", "market", "nodes")
    return {name: _plain(getattr(quote, name)) for name in names} | {
        "zone": start.intensity.zone,
        "source": start.intensity.source,
        "start_at": utc_second(start.at),
        "latest_start_at": utc_second(start.latest_at),
        "expected_h": start.expected_h,
        "carbon_kgco2e": start.carbon_kgco2e,
        "now_carbon_kgco2e": start.now_carbon_kgco2e,
        "saved_kgco2e": start.saved_kgco2e,
        "saved_share": start.saved_share,
        "covered_share": start.covered,
        "cost_usd": exact_usd_or_none(quote.cost_usd and quote.cost_usd.expected),
    }


def snapshot_document(snapshot: Snapshot) -> dict[str, Any]:
    """The prices that a plan or a check rests on."""
    return {
        "snapshot": snapshot.id,
        "as_of": {cloud: day.isoformat() for cloud, day in sorted(snapshot.as_of.items())},
        "oldest": {cloud: day.isoformat() for cloud, day in sorted(snapshot.oldest.items())},
        "offers": snapshot.offers,
        "stale": snapshot.stale_offers,
    }


def quote_document(quote: Quote | None) -> dict[str, Any] | None:
    """One quote, None for none."""
    if quote is None:
        return None
    document = _record(quote._replace(falls_back=None, course=None))
    # Which alternative it is of, its command's own time, how long it may take and what its price's
    # age is worth are for the choice and the launch only, as are the moments of its duration and
    # how often such machines are taken.
    kept = ("option", "command_s", "price_width", "falls_back", "sure_h", "course")
    for name in (*kept, "interruption_rate"):
        del document[name]
    if quote.batch is None:
        del document["batch"]
    back = quote.falls_back
    if back is not None:
        document["spot"] = {
            "falls_back": True,
            "policy": back.policy,
            "on_demand_share": back.on_demand_share,
            "on_demand_price_per_hour_usd": exact_usd(back.on_demand_price_per_hour_usd),
            "later": [_record(later) for later in back.later],
            "interruption_rate": back.interruption_rate,
            "own_runs": None if back.watched is None else _record(back.watched),
        }
    return document


def batch_advice_document(choice: Quote | None, best: Quote) -> dict[str, Any]:
    """The best quote were the batch free, and what it saves against the choice, if there is one."""
    usd, hours = None, None
    if choice is not None and choice.cost_usd is not None and best.cost_usd is not None:
        usd = exact_usd(choice.cost_usd.expected - best.cost_usd.expected)
    if choice is not None and choice.duration_h is not None and best.duration_h is not None:
        hours = choice.duration_h.p50 - best.duration_h.p50
    return {"choice": quote_document(best), "saves_usd": usd, "saves_h": hours}


def counts_document(counts: Sequence[AtCount]) -> list[dict[str, Any]]:
    """The best quote on each number of nodes; null where nothing does, or its time is unknown."""
    return [
        {
            "num_nodes": count.nodes,
            "known": count.plan.known,
            "choice": quote_document(count.plan.choice) if count.offers else None,
        }
        for count in counts
    ]


def objective_document(objective: Objective) -> str | dict[str, str]:
    """As in the job file: a word, or the price on carbon."""
    if objective.kind is ObjectiveKind.WEIGHTED:
        return {"usd_per_kg_co2e": str(objective.usd_per_kg_co2e)}
    return str(objective.kind)


def _record(value: Any) -> dict[str, Any]:
    """A named tuple by the names of its fields, which are part of the machine-readable contract."""
    return {name: _plain(field) for name, field in value._asdict().items()}


def _plain(value: Any) -> Any:
    """As JSON holds it."""
    match value:
        case Decimal():
            return exact_usd(value)
        case date():
            return value.isoformat()
        case StrEnum():
            return str(value)
        case tuple() if hasattr(value, "_asdict"):
            return _record(value)
        case tuple():
            return [_plain(item) for item in value]
    return value
