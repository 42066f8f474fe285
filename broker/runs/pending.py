"""Machines that their place starts when it likes: a Slurm's jobs wait in a queue that is not ours.

Until the start an attempt costs nothing, whatever it holds of the caps; from then on its life is
as long as it was to be.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from mlbroker.broker.clouds.interface import Machine
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


def news_of(run: Run, machine: Machine, warn: Callable[[str], None]) -> dict[str, str]:
    """What is written down of why it waits, where that is something new; it is told, too."""
    says = machine.says or ""
    if says == run.attempt.pending:
        return {}
    warn(f"waiting in the queue of {vendor(run.attempt.cloud).name}: {says}")
    return {"what": PENDING, PENDING: says}
