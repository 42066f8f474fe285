"""The plan as a document: schema `mlbroker.plan/2` (see `mlbroker schema plan`)."""

from datetime import UTC, date
from decimal import Decimal
from enum import StrEnum
from typing import Any

from mlbroker.broker.words import exact_usd, exact_usd_or_none
from mlbroker.policies.planner.plan import Plan
from mlbroker.policies.quote import Quote
from mlbroker.pricing.book import Snapshot
from mlbroker.profiles.job import Objective, ObjectiveKind

SCHEMA = "mlbroker.plan/2"


def plan_document(plan: Plan, *, explain: bool) -> dict[str, Any]:
    """The whole plan; money as decimal strings. `rejected` is there only when explained."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "generated_at": plan.generated_at.astimezone(UTC).isoformat(timespec="seconds"),
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
        "choice": quote_document(plan.choice),
        "feasible": plan.feasible,
        "quotes": [quote_document(quote) for quote in plan.quotes],
        "rejections": {str(reason): count for reason, count in sorted(plan.rejections.items())},
        "baseline": quote_document(plan.baseline),
        "savings_usd": exact_usd_or_none(plan.savings_usd),
        "unjudged": list(plan.unjudged),
    }
    if explain:
        document["rejected"] = [_record(item) for item in plan.rejected]
    if plan.near_miss is not None:
        document["near_miss"] = _record(plan.near_miss)
    return document


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
    document = _record(quote._replace(falls_back=None))
    # Which alternative it is of, its command's own time, and what its price's age is worth are for
    # the choice and the launch only.
    for name in ("option", "command_s", "price_width", "falls_back"):
        del document[name]
    back = quote.falls_back
    if back is not None:
        document["spot"] = {
            "falls_back": True,
            "on_demand_share": back.on_demand_share,
            "on_demand_price_per_hour_usd": exact_usd(back.on_demand_price_per_hour_usd),
            "later": [_record(later) for later in back.later],
        }
    return document


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
