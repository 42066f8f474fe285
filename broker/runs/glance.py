"""A run as it stands this moment, with what its machine says, for lists."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from mlbroker.broker.clouds.interface import Cloud
from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.ledger import Run
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.intents import intent_of
from mlbroker.broker.runs.order import Order
from mlbroker.broker.runs.summary import money, run_row


def glance(run: Run, opened: Callable[[str], Cloud], state: Path, now: datetime) -> dict[str, Any]:
    """The ledger's row, with phase, steps and the money spent up to `now`.

    `unattended`: no process carries the run; its cap holds all the same.
    """
    row = run_row(run) | {"phase": None, "step": None, "steps": None, "unattended": False}
    if run.settled or not run.attempts:
        return row
    folder = RunFolder.of(state, run.run_id)
    with folder.carried(wait=False) as free:
        row["unattended"] = free
    attempt = run.attempt
    if attempt.machine_id is None or attempt.ended_at is not None:
        return row
    try:
        order = Order.load(folder.path, run.details["order_sha256"])
        cloud = opened(attempt.cloud)
        report = cloud.report(intent_of(run, attempt, order))
    except MlbrokerError as error:
        return row | {"phase": f"unknown: {error.what}"}
    status = report.status or {}
    began = attempt.started_at or attempt.intended_at
    seconds = Decimal(str(max(0.0, (min(now, attempt.kill_at) - began).total_seconds())))
    spent = run.spent_usd + order.candidate(attempt).rate(cloud.traits).charge_usd(seconds)
    return row | {
        "phase": "ended" if report.end else status.get("phase"),
        "step": status.get("step"),
        "steps": status.get("steps") or order.steps,
        "spent_usd": money(spent),
    }
