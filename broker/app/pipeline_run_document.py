"""What a pipeline's execution came to, as a document: schema `mlbroker.pipeline-run/1`."""

from decimal import Decimal
from typing import Any

from mlbroker.broker.app.pipeline_rest import StagePlan
from mlbroker.broker.app.pipeline_run import Conductor
from mlbroker.broker.ledger import Run
from mlbroker.broker.words import exact_usd, exact_usd_or_none, utc_second

SCHEMA = "mlbroker.pipeline-run/1"


def pipeline_run_document(
    conductor: Conductor, plans: dict[str, StagePlan] | None = None
) -> dict[str, Any]:
    """As it stands; with `plans` it is a dry run, and they say what would begin. Money as decimal
    strings; null is what is not known or does not apply.
    """
    share, at = conductor.whole.share, conductor.whole.deadline_at
    runs, plans = conductor.runs(), plans if plans is not None else {}
    left_usd = conductor.left_usd()
    open_usd = sum((run.reserved_usd for run in runs.values()), Decimal(0))
    return {
        "schema": SCHEMA,
        "pipeline": share.name,
        "pipeline_id": share.whole_id,
        "dry_run": conductor.request.dry_run,
        "outcome": outcome_of(conductor),
        "budget_usd": exact_usd(share.budget_usd),
        "spent_usd": exact_usd(share.budget_usd - left_usd - open_usd),
        "reserved_usd": exact_usd(open_usd),
        "deadline_at": None if at is None else utc_second(at),
        "stages": [
            _stage(conductor, name, runs.get(name), plans.get(name)) for name in conductor.names
        ],
    }


def outcome_of(conductor: Conductor) -> str:
    """In one word: of all stages."""
    if len(conductor.done) == len(conductor.names):
        return "succeeded"
    if conductor.at_work:
        return "running"
    ends = {run.outcome for run in conductor.failed.values()}
    if conductor.stopping or "stopped" in ends:
        return "stopped"
    return "failed" if ends or conductor.trouble else "not_begun"


def state_of(conductor: Conductor, name: str) -> str:
    """In one word: of one stage."""
    if name in conductor.done:
        return "skipped" if conductor.done[name].skipped else "done"
    if name in conductor.at_work:
        return "running"
    return "failed" if name in conductor.failed else "not_begun"


def _stage(
    conductor: Conductor, name: str, run: Run | None, plan: StagePlan | None
) -> dict[str, Any]:
    quote = None if plan is None else plan.quote
    return {
        "stage": name,
        "needs": conductor.needs(name),
        "state": state_of(conductor, name),
        "run_id": None if run is None else run.run_id,
        "outcome": None if run is None else run.outcome,
        "exit_code": None if run is None else run.exit_code,
        "spent_usd": None if run is None else exact_usd(run.spent_usd),
        "least_usd": exact_usd_or_none(None if plan is None else plan.need.usd),
        "planned_h": None if quote is None or quote.duration_h is None else quote.duration_h.p50,
        "due_h": None if plan is None or plan.due_s is None else plan.due_s / 3600,
    }
