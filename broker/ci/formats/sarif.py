"""The check as SARIF 2.1.0: findings with file and line, which forges show beside the code."""

from typing import Any
from urllib.parse import quote

from mlbroker.broker.ci.changes import JobChange
from mlbroker.broker.ci.check import CostCheck
from mlbroker.broker.ci.formats import words
from mlbroker.broker.ci.pairs import ChangeStatus
from mlbroker.broker.output import json_text

_RULES = {
    "broken-job": "The job file cannot be read",
    "nothing-feasible": "No machine meets the job's needs, deadline and budget",
    "max-increase": "The cost of a run grows by more than is allowed",
    "max-cost": "A run costs more than is allowed",
    "max-monthly": "A month costs more than is allowed",
    "max-carbon": "A run emits more than is allowed",
    "policy": "The policy file forbids it",
    "unjudged": "A limit could not be judged, as the job was never measured",
    "cost-change": "The cost of a run changes",
}


def render(check: CostCheck) -> str:
    """One run: crossed limits and unreadable jobs are errors, changes of cost are notes."""
    results = [
        _result(crossing.limit, "error", crossing.message, crossing.job,
                crossing.job.file_line(crossing.key))
        for crossing in check.crossed
    ]  # fmt: skip
    results += [
        _result("unjudged", "warning", f"--{limit.limit} {limit.message}", limit.job,
                limit.job.file_line(limit.key))
        for limit in check.unjudged
    ]  # fmt: skip
    for job in check.touched:
        if job.pair.problem is not None:
            results.append(
                _result("broken-job", "error", job.pair.problem.what, job, _line_in(job))
            )
        elif job.head is not None and job.head.problem:
            at = job.file_line(job.key_of("broker.deadline", "resources"))
            results.append(_result("nothing-feasible", "error", job.head.problem, job, at))
        elif job.status is ChangeStatus.CHANGED and job.increase:
            text = f"costs {words.cost_told(job)} ({words.change(job)})"
            at = job.file_line(job.first_changed_key)
            results.append(_result("cost-change", "note", text, job, at))
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "mlbroker",
                        "rules": [
                            {"id": rule, "shortDescription": {"text": text}}
                            for rule, text in _RULES.items()
                        ],
                    }
                },
                "results": results,
            }
        ],
    }
    return json_text(log) + "\n"


def _result(rule: str, level: str, text: str, job: JobChange, at: int) -> dict[str, Any]:
    return {
        "ruleId": rule,
        "ruleIndex": list(_RULES).index(rule),
        "level": level,
        "message": {"text": f"{job.pair.name}: {text}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(job.pair.path), "uriBaseId": "%SRCROOT%"},
                    "region": {"startLine": at},
                }
            }
        ],
        "partialFingerprints": {"job/v1": f"{rule}:{job.pair.path}:{job.pair.name}"},
    }


def _line_in(job: JobChange) -> int:
    """The line that a refusal names (`path:14`), else the first."""
    where = job.pair.problem.where if job.pair.problem else None
    number = (where or "").rpartition(":")[2]
    return int(number) if number.isdigit() else 1
