"""The check as a document: schema `mlbroker.check/1` (see `mlbroker schema check`)."""

from typing import Any

from mlbroker.broker.ci.changes import JobChange
from mlbroker.broker.ci.check import CostCheck, Crossing
from mlbroker.broker.ci.priced import priced_document
from mlbroker.broker.output import json_text
from mlbroker.broker.plan_document import snapshot_document
from mlbroker.broker.words import exact_usd_or_none, utc_second

SCHEMA = "mlbroker.check/1"


def render(check: CostCheck) -> str:
    """One JSON document; nothing in it depends on the order in which files were found."""
    return json_text(document(check)) + "\n"


def document(check: CostCheck) -> dict[str, Any]:
    """The whole check; money as decimal strings."""
    total = check.total
    return {
        "schema": SCHEMA,
        "generated_at": utc_second(check.generated_at),
        "compared_to": check.compared_to,
        "base_commit": check.base_commit,
        "prices": snapshot_document(check.snapshot),
        "jobs": [_job(job) for job in check.jobs],
        "total": {
            "base_cost_usd": exact_usd_or_none(total.base_cost_usd),
            "head_cost_usd": exact_usd_or_none(total.head_cost_usd),
            "base_monthly_usd": exact_usd_or_none(total.base_monthly_usd),
            "head_monthly_usd": exact_usd_or_none(total.head_monthly_usd),
            "base_carbon_kgco2e": total.base_carbon_kg,
            "head_carbon_kgco2e": total.head_carbon_kg,
        },
        "crossed": [_crossing(crossing) for crossing in check.crossed],
        "unjudged": [_crossing(limit) for limit in check.unjudged],
    }


def _job(job: JobChange) -> dict[str, Any]:
    pair = job.pair
    entry: dict[str, Any] = {"path": pair.path, "name": pair.name, "status": str(job.status)}
    if pair.previous_path is not None:
        entry["previous_path"] = pair.previous_path
    if pair.problem is not None:
        entry["error"] = {"where": pair.problem.where, "what": pair.problem.what}
    for which, side in (("base", job.base), ("head", job.head)):
        entry |= {
            f"{which}_cost_usd": None if side is None else exact_usd_or_none(side.cost_usd),
            f"{which}_monthly_usd": None if side is None else exact_usd_or_none(side.monthly_usd),
            which: priced_document(side),
            f"{which}_problem": None if side is None else side.problem,
            f"{which}_forbidden": None if side is None else side.forbidden,
            f"{which}_inputs": None if side is None else side.inputs._asdict(),
        }
    entry["reasons"] = list(job.reasons)
    return entry


def _crossing(crossing: Crossing) -> dict[str, Any]:
    pair = crossing.job.pair
    return {
        "path": pair.path,
        "name": pair.name,
        "limit": crossing.limit,
        "message": crossing.message,
        "line": crossing.job.file_line(crossing.key),
    }
