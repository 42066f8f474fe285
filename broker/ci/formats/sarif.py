"""The check as SARIF 2.1.0: findings with file and line, which forges show beside the code."""

import json
from typing import Any
from urllib.parse import quote

from mlbroker.broker.ci.changes import Line
from mlbroker.broker.ci.check import Check
from mlbroker.broker.ci.formats import words
from mlbroker.broker.ci.pairs import Status

_RULES = {
    "broken-job": "The job file cannot be read",
    "nothing-feasible": "No machine meets the job's needs, deadline and budget",
    "max-increase": "The cost of a run grows by more than is allowed",
    "max-cost": "A run costs more than is allowed",
    "max-monthly": "A month costs more than is allowed",
    "max-carbon": "A run emits more than is allowed",
    "policy": "The policy file forbids it",
    "cost-change": "The cost of a run changes",
}


def render(check: Check) -> str:
    """One run: crossed limits and unreadable jobs are errors, changes of cost are notes."""
    results = [
        _result(crossing.limit, "error", crossing.message, crossing.line,
                crossing.line.line_of(crossing.key))
        for crossing in check.crossed
    ]  # fmt: skip
    for line in check.touched:
        if line.pair.problem is not None:
            results.append(
                _result("broken-job", "error", line.pair.problem.what, line, _line_in(line))
            )
        elif line.head is not None and line.head.problem:
            at = line.line_of(line.key_of("broker.deadline", "resources"))
            results.append(_result("nothing-feasible", "error", line.head.problem, line, at))
        elif line.status is Status.CHANGED and line.increase:
            text = f"costs {words.cost(line)} USD a run ({words.change(line)})"
            at = line.line_of(line.first_changed_key)
            results.append(_result("cost-change", "note", text, line, at))
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
    return json.dumps(log, indent=2, ensure_ascii=True) + "\n"


def _result(rule: str, level: str, text: str, line: Line, at: int) -> dict[str, Any]:
    return {
        "ruleId": rule,
        "ruleIndex": list(_RULES).index(rule),
        "level": level,
        "message": {"text": f"{line.pair.name}: {text}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(line.pair.path), "uriBaseId": "%SRCROOT%"},
                    "region": {"startLine": at},
                }
            }
        ],
        "partialFingerprints": {"job/v1": f"{rule}:{line.pair.path}:{line.pair.name}"},
    }


def _line_in(line: Line) -> int:
    """The line that a refusal names (`path:14`), else the first."""
    where = line.pair.problem.where if line.pair.problem else None
    number = (where or "").rpartition(":")[2]
    return int(number) if number.isdigit() else 1
