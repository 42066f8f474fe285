"""How a driver asks clouds: again while there is no answer, for as long as a machine may live."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from mlbroker.broker.clouds.interface import Cloud, Machine
from mlbroker.broker.ledger import Run
from mlbroker.broker.runs.attempt import refuse_other_account
from mlbroker.broker.runs.clock import Clock, until_answered

T = TypeVar("T")

# How long past the kill time to wait for a place that does not answer, before leaving it open.
PATIENCE_S = 60.0
# Who has other runs to look after waits no longer than this.
SHORT_S = 2.0


class Asking:
    """Asks the clouds of runs. Not `patient`: there are other runs to look after."""

    def __init__(self, opened: Callable[[str], Cloud], clock: Clock, *, patient: bool) -> None:
        self._opened = opened
        self._clock = clock
        self._patient = patient

    def patiently(self, run: Run, call: Callable[[], T]) -> T:
        """Ask until there is an answer, for as long as the machine may still live, and a while."""
        return self.for_a_while(call, self.give_up_at(run) if self._patient else None)

    def for_a_while(self, call: Callable[[], T], at_least: datetime | None = None) -> T:
        """Ask until there is an answer, for a while, and until then at least."""
        until = self._clock.now() + timedelta(seconds=PATIENCE_S if self._patient else SHORT_S)
        return until_answered(call, self._clock, max(until, at_least or until))

    def cloud_of(self, run: Run) -> Cloud:
        """Where the run's attempt is; InputError with credentials of another account."""
        cloud = self._opened(run.attempt.cloud)
        if run.attempt.account:
            refuse_other_account(run.attempt, self.patiently(run, cloud.account))
        return cloud

    def status(self, run: Run) -> Machine | None:
        """The machine of the run's attempt; asked with credentials that can see it."""
        cloud = self.cloud_of(run)
        return self.patiently(run, lambda: cloud.status(run.attempt.machine_id or ""))

    def latest(self, run: Run) -> datetime:
        """When the kill switches have ended its machine at the latest."""
        slack = self._opened(run.attempt.cloud).traits.kill_slack_s
        return run.attempt.kill_at + timedelta(seconds=slack)

    def give_up_at(self, run: Run) -> datetime:
        """From when on nobody waits any more for it to end by itself."""
        return self.latest(run) + timedelta(seconds=PATIENCE_S / 10)
