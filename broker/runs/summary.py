"""A run as the machine-readable contract shows it (`ledger --json`, `ps --json`, `run --json`)."""

from datetime import datetime
from typing import Any

from mlbroker.broker.ledger import Run


def run_row(run: Run) -> dict[str, Any]:
    """One run: what is reserved, what is spent, when and where. Money is a decimal string."""
    attempt = run.attempts[-1] if run.attempts else None
    started = next((a.started_at for a in run.attempts if a.started_at), None)
    first = run.details.get("candidate", {})
    return {
        "run_id": run.run_id,
        "job": run.job,
        "user": run.user,
        "project": run.project,
        "state": run.state.value,
        "reserved_usd": money(run.reserved_usd),
        "spent_usd": money(run.spent_usd),
        "started_at": _moment(started),
        "ended_at": _moment(attempt.ended_at if attempt else None),
        "cloud": attempt.cloud if attempt else first.get("cloud"),
        "region": attempt.region if attempt else first.get("region"),
        "instance_type": attempt.instance_type if attempt else first.get("instance_type"),
        "market": attempt.market if attempt else first.get("market"),
        "outcome": run.outcome,
        "exit_code": run.exit_code,
        "budget_usd": money(run.cap_usd),
        "attempts": len(run.attempts),
        "reserved_at": _moment(run.reserved_at),
        "kill_at": _moment(attempt.kill_at if attempt and not run.settled else None),
    }


def money(amount: Any) -> str:
    """A decimal in plain notation, without superfluous zeros."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _moment(at: datetime | None) -> str | None:
    return at.isoformat(timespec="milliseconds") if at else None
