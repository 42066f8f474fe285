"""The plan as a document: schema `mlbroker.plan/2` (see `mlbroker schema plan`)."""

from datetime import UTC
from typing import Any

from mlbroker.broker.words import exact_usd_or_none
from mlbroker.policies.planner.plan import Plan
from mlbroker.policies.quote import Quote, Rejection
from mlbroker.pricing.book import Snapshot
from mlbroker.profiles.job import Objective, ObjectiveKind
from mlbroker.profiles.prediction import Quantiles

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
    }
    if explain:
        document["rejected"] = [rejection_document(item) for item in plan.rejected]
    if plan.near_miss is not None:
        miss = plan.near_miss
        document["near_miss"] = {
            "deadline_s": miss.deadline_s,
            "deadline_with": miss.deadline_with,
            "deadline_market": miss.deadline_market,
            "budget_usd": exact_usd_or_none(miss.budget_usd),
            "budget_with": miss.budget_with,
            "budget_market": miss.budget_market,
            "together": miss.together,
            "left_out": [left._asdict() for left in miss.left_out],
        }
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
    cost = quote.cost_usd
    return {
        "cloud": quote.cloud,
        "region": quote.region,
        "instance_type": quote.instance_type,
        "market": str(quote.market),
        "nodes": quote.nodes,
        "price_per_hour_usd": exact_usd_or_none(quote.price_per_hour_usd),
        "price_as_of": quote.price_as_of.isoformat(),
        "price_source": quote.price_source,
        "price_stale": quote.price_stale,
        "step_time_s": quantiles(quote.step_time_s),
        "basis": str(quote.basis),
        "evidence": quote.evidence,
        "duration_h": quantiles(quote.duration_h),
        "cost_usd": {
            "expected": exact_usd_or_none(cost.expected),
            "p90": exact_usd_or_none(cost.p90),
            "compute": exact_usd_or_none(cost.compute),
            "storage": exact_usd_or_none(cost.storage),
            "network": exact_usd_or_none(cost.network),
            "interruptions": exact_usd_or_none(cost.interruptions),
        },
        "deadline_probability": quote.deadline_probability,
        "energy_kwh": quote.energy_kwh,
        "carbon_kgco2e": quote.carbon_kgco2e,
        "grid_intensity_kgco2e_per_kwh": quote.grid_intensity_kgco2e_per_kwh,
    }


def rejection_document(item: Rejection) -> dict[str, Any]:
    """One rejection; `cost_usd` and `duration_h` are null where no price was looked at."""
    return {
        "cloud": item.cloud,
        "region": item.region,
        "instance_type": item.instance_type,
        "market": str(item.market),
        "reason": str(item.reason),
        "detail": item.detail,
        "cost_usd": exact_usd_or_none(item.cost_usd),
        "duration_h": item.duration_h,
    }


def objective_document(objective: Objective) -> str | dict[str, str]:
    """As in the job file: a word, or the price on carbon."""
    if objective.kind is ObjectiveKind.WEIGHTED:
        return {"usd_per_kg_co2e": str(objective.usd_per_kg_co2e)}
    return str(objective.kind)


def quantiles(values: Quantiles) -> dict[str, float]:
    """p10, p50 and p90."""
    return {"p10": values.p10, "p50": values.p50, "p90": values.p90}
