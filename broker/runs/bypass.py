"""Ends a run's job beside the process that carries it, when that one does not get on.

Suspended, or hung on a network, it still holds the run. Its part in the books is left to it: here
only the machine is asked, as often as need be, and what is asked may be asked twice.
"""

from collections.abc import Callable
from datetime import datetime

from mlbroker.broker.clouds.interface import Cloud, MachineState
from mlbroker.broker.errors import CloudError
from mlbroker.broker.ledger import Run
from mlbroker.broker.runs.attempt import intent_of
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.order import Order
from mlbroker.broker.runs.watch import STOP_PATIENCE_S


class Bypass:
    """One run that somebody else carries. `trouble` is what the place said last, if it did."""

    def __init__(self, opened: Callable[[str], Cloud], folder: RunFolder, clock: Clock) -> None:
        self._opened = opened
        self._folder = folder
        self._clock = clock
        self._asked_at: datetime | None = None
        self.trouble: str | None = None

    def gone(self, run: Run) -> bool:
        """Ask for the end of its job, once more; True when no machine of it is left."""
        try:
            self.trouble, over = None, self._end(run)
        except CloudError as error:
            self.trouble, over = str(error), False
        return over

    def _end(self, run: Run) -> bool:
        if not run.attempts or run.attempt.ended_at is not None:
            return True
        attempt, now = run.attempt, self._clock.now()
        cloud = self._opened(attempt.cloud)
        order = Order.load(self._folder.path, run.details["order_sha256"])
        intent, machine_id = intent_of(run, attempt, order), attempt.machine_id
        if machine_id is None:
            cloud.cancel(intent)
            found = cloud.find(intent.tags)
            if not found:
                return True
            machine_id = found[0].id
        machine = cloud.status(machine_id)
        if machine is None:
            # A new one may not be listed yet.
            return (now - attempt.began_at).total_seconds() > cloud.traits.visible_after_s
        if machine.state is MachineState.TERMINATED:
            return True
        if self._asked_at is None:
            self._asked_at = now
            cloud.stop_job(intent, "stopped")
        elif (now - self._asked_at).total_seconds() > STOP_PATIENCE_S:
            cloud.terminate(machine_id)
        return False
