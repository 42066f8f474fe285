"""What was charged: one record for each attempt whose machine is gone, as cost reports want it."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from mlbroker.broker.ledger import Attempt, Run

SECONDS_PER_HOUR = 3600


class Charge(NamedTuple):
    """One attempt's machines from `start` until `end`, whole seconds of UTC: the first that was
    begun, and the first after the last. They stood at least one.
    """

    run: Run
    attempt: Attempt
    start: datetime
    end: datetime

    @property
    def usd(self) -> Decimal:
        """All of it, in US dollars: machines, disks, addresses, requests and traffic."""
        return self.attempt.charged_usd

    @property
    def hours(self) -> Decimal:
        """Hours of one machine that all of them stood."""
        seconds = Decimal(int((self.end - self.start).total_seconds()))
        return seconds / SECONDS_PER_HOUR * self.attempt.nodes


def utc_text(at: datetime) -> str:
    """A moment as both formats write it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def charges(runs: Iterable[Run]) -> Iterator[Charge]:
    """Charges of runs, in their order.

    An attempt that had no machine is none, nor is one whose machine may still stand. Of one whose
    end nobody tells, the charge is the most that it can have cost, and it ends at its kill time.
    """
    for run in runs:
        for attempt in run.attempts:
            if not attempt.charged_usd and (attempt.machine_id is None or attempt.ended_at is None):
                continue
            start = attempt.began_at.astimezone(UTC).replace(microsecond=0)
            end = (attempt.ended_at or attempt.kill_at).astimezone(UTC)
            if end.microsecond:
                end = end.replace(microsecond=0) + timedelta(seconds=1)
            yield Charge(run, attempt, start, max(end, start + timedelta(seconds=1)))
