"""A pipeline's plan as a document: schema `mlbroker.pipeline-plan/1`."""

import math
from decimal import Decimal
from typing import Any

from mlbroker.broker.app.pipeline import PlannedPipeline
from mlbroker.broker.plan_document import objective_document, quote_document, snapshot_document
from mlbroker.broker.words import exact_usd, exact_usd_or_none, utc_second
from mlbroker.policies.pipeline.explain import Alternative
from mlbroker.policies.pipeline.planning import Planned

SCHEMA = "mlbroker.pipeline-plan/1"


def pipeline_document(made: PlannedPipeline) -> dict[str, Any]:
    """The whole plan; money as decimal strings. Choices and total are null where nothing does."""
    limits, plan = made.query.limits, made.plan
    solution, table = plan.solution, plan.table
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "generated_at": utc_second(made.generated_at),
        "pipeline": {"name": made.query.file.name, "stages": len(made.names)},
        "prices": snapshot_document(made.snapshot),
        "objective": objective_document(limits.objective),
        "deadline_s": plan.problem.deadline_s,
        "confidence": limits.confidence,
        "budget_usd": exact_usd_or_none(limits.budget_usd),
        "stages": [_stage(made, number) for number in range(len(made.names))],
        "critical_path": [made.names[number] for number in (table.critical if table else ())],
        "total": _total(plan),
        "gap": solution.gap if math.isfinite(solution.gap) else None,
        "timed_out": solution.timed_out,
    }
    if solution.selection is None:
        budget = solution.least_budget_usd
        document["near_miss"] = {
            "deadline_s": solution.least_deadline_s,
            "budget_usd": None if budget is None else _usd(budget),
        }
    return document


def _stage(made: PlannedPipeline, number: int) -> dict[str, Any]:
    plan, problem = made.plan, made.plan.problem
    stage = plan.chosen[number] if plan.chosen else None
    entry: dict[str, Any] = {
        "job": made.names[number],
        "needs": [made.names[before] for before in problem.stages[number].needs],
        "choice": quote_document(stage.quote if stage else None),
        "candidates": len(plan.quotes[number]),
        "cost_usd": exact_usd(stage.cost_usd) if stage else None,
        "transfer_usd": exact_usd(stage.transfer_usd) if stage else None,
        "reuses": None if stage is None or stage.reuses is None else made.names[stage.reuses],
        "start_h": stage.start_s / 3600 if stage else None,
        "duration_h": (stage.end_s - stage.start_s) / 3600 if stage else None,
        "slack_h": stage.slack_s / 3600 if stage else None,
    }
    if made.choices:
        entry["next_cheaper"] = _alternative(plan, number, made.choices[number].cheaper)
        entry["next_faster"] = _alternative(plan, number, made.choices[number].faster)
    return entry


def _total(plan: Planned) -> dict[str, Any] | None:
    selection = plan.solution.selection
    if selection is None:
        return None
    transfers = sum((stage.transfer_usd for stage in plan.chosen), Decimal(0))
    return {
        "cost_usd": {"expected": exact_usd(plan.cost_usd), "p90": _usd(selection.p90_usd)},
        "transfer_usd": exact_usd(transfers),
        "duration_h": selection.duration_s / 3600,
        "sure_h": selection.sure_s / 3600,
        "deadline_probability": selection.chance,
        "carbon_kgco2e": plan.carbon_kgco2e,
    }


def _alternative(plan: Planned, number: int, found: Alternative | None) -> dict[str, Any] | None:
    if found is None:
        return None
    quote, whole = plan.quotes[number][found.option], found.whole
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
