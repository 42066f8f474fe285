"""A pipeline's plan as a document: schema `mlbroker.pipeline-plan/1`."""

import math
from decimal import Decimal
from typing import Any

from mlbroker.broker.app.pipeline import PlannedPipeline, PlannedStage
from mlbroker.broker.plan_document import objective_document, quote_document, snapshot_document
from mlbroker.broker.words import exact_usd, exact_usd_or_none, utc_second
from mlbroker.policies.pipeline.explain import Alternative

SCHEMA = "mlbroker.pipeline-plan/1"


def pipeline_document(made: PlannedPipeline) -> dict[str, Any]:
    """The whole plan; money as decimal strings. Choices and total are null where nothing does."""
    limits, solution, table = made.query.limits, made.solution, made.table
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "generated_at": utc_second(made.generated_at),
        "pipeline": {"name": made.query.file.name, "stages": len(made.stages)},
        "prices": snapshot_document(made.snapshot),
        "objective": objective_document(limits.objective),
        "deadline_s": made.deadline_s,
        "confidence": limits.confidence,
        "budget_usd": exact_usd_or_none(limits.budget_usd),
        "stages": [_stage(stage) for stage in made.stages],
        "critical_path": [made.stages[n].job.name for n in (table.critical if table else ())],
        "total": _total(made),
        "gap": solution.gap if math.isfinite(solution.gap) else None,
        "timed_out": solution.timed_out,
    }
    if made.selection is None:
        budget = solution.least_budget_usd
        document["near_miss"] = {
            "deadline_s": solution.least_deadline_s,
            "budget_usd": None if budget is None else _usd(budget),
        }
    if made.choices:
        for number, (entry, found) in enumerate(zip(document["stages"], made.choices, strict=True)):
            entry["next_cheaper"] = _alternative(made, number, found.cheaper)
            entry["next_faster"] = _alternative(made, number, found.faster)
    return document


def _stage(stage: PlannedStage) -> dict[str, Any]:
    known = stage.choice is not None
    return {
        "job": stage.job.name,
        "needs": list(stage.needs),
        "choice": quote_document(stage.choice),
        "candidates": len(stage.quotes),
        "cost_usd": exact_usd_or_none(stage.cost_usd),
        "transfer_usd": exact_usd(stage.transfer_usd) if known else None,
        "reuses": stage.reuses,
        "start_h": stage.start_s / 3600 if known else None,
        "duration_h": (stage.end_s - stage.start_s) / 3600 if known else None,
        "slack_h": stage.slack_s / 3600 if known else None,
    }


def _total(made: PlannedPipeline) -> dict[str, Any] | None:
    selection, cost = made.selection, made.cost_usd
    if selection is None or cost is None:
        return None
    return {
        "cost_usd": {"expected": exact_usd(cost), "p90": _usd(selection.p90_usd)},
        "transfer_usd": exact_usd(sum((s.transfer_usd for s in made.stages), Decimal(0))),
        "duration_h": selection.duration_s / 3600,
        "sure_h": selection.sure_s / 3600,
        "deadline_probability": selection.chance,
        "carbon_kgco2e": made.carbon_kgco2e,
    }


def _alternative(
    made: PlannedPipeline, number: int, found: Alternative | None
) -> dict[str, Any] | None:
    if found is None:
        return None
    quote = made.stages[number].quotes[found.option]
    whole = found.whole
    return {
        "cloud": quote.cloud,
        "region": quote.region,
        "instance_type": quote.instance_type,
        "market": str(quote.market),
        "total_cost_usd": _usd(whole.cost_usd),
        "total_duration_h": whole.duration_s / 3600,
        "deadline_probability": whole.chance,
    }


def _usd(amount: float) -> str:
    return exact_usd(Decimal(str(round(amount, 6))))
