"""Machines that their place starts when it likes: jobs of a cluster wait in a queue not ours.

Until the start an attempt costs nothing, whatever it holds of the caps; from then on its life is
as long as it was to be, or until its place ends it.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from mlbroker.broker.clouds.interface import Machine, MachineState
from mlbroker.broker.ledger import Run
from mlbroker.broker.ledger.state import PENDING
from mlbroker.pricing.vendors import vendor

FORGOTTEN = "its place forgot it before it was started"
CANCELLED = "its place cancelled it before it was started"


def told_of_start(run: Run, began_at: datetime | None, kill_at: datetime | None) -> dict[str, str]:
    """What is written down once the run's machine has a start; nothing of one that had it before,
    or has none.
    """
    if run.attempt.pending is None or began_at is None:
        return {}
    attempt = run.attempt.begun(began_at, kill_at)
    return {"began_at": began_at.isoformat(), "kill_at": attempt.kill_at.isoformat()}


def started(run: Run, told: Mapping[str, str]) -> Run:
    """The run as it is with that."""
    if not told:
        return run
    began, kill = (datetime.fromisoformat(told[name]) for name in ("began_at", "kill_at"))
    return replace(run, attempts=(*run.attempts[:-1], run.attempt.begun(began, kill)))


class Over(NamedTuple):
    """Why an attempt is over that was never started."""

    why: str
    detail: str | None


def whether_begun(
    run: Run, machine: Machine, now: datetime
) -> tuple[dict[str, str] | None, Over | None]:
    """What is written down of its start, once it has begun; or why it never will. Neither while it
    is waited for.
    """
    began = machine.state in (MachineState.RUNNING, MachineState.TERMINATED)
    told = told_of_start(run, machine.started_at, machine.kill_at) if began else {}
    if began and (told or run.attempt.pending is None):
        return told, None
    if machine.state is MachineState.TERMINATED:
        late = machine.kill_at is not None and now >= machine.kill_at
        if machine.says and not (late or run.stop_requested):
            return None, Over("machine_failed", machine.says)
        return None, Over(run.stop_requested or ("capped" if late else "stopped"), CANCELLED)
    return None, Over("not_placed", machine.says) if machine.stuck else None


def news_of(run: Run, machine: Machine, warn: Callable[[str], None]) -> dict[str, str]:
    """What is written down of why it waits, where that is something new; it is told, too."""
    says = machine.says
    if not says or says == run.attempt.pending:
        return {}
    warn(f"waiting in the queue of {vendor(run.attempt.cloud).name}: {says}")
    return {"what": PENDING, PENDING: says}
