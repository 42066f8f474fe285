"""What runs on own places cost those who waited for one meanwhile."""

from bisect import bisect_right
from collections.abc import Iterable
from datetime import datetime

from mlbroker.broker.report.entries import Entry, Wait


class Waiting:
    """Of everybody who waited for places of one machine: the sum of what that cost, over time."""

    def __init__(self, waits: Iterable[tuple[Wait, float]], now: datetime) -> None:
        steps: dict[datetime, float] = {}
        for wait, usd_per_h in waits:
            until = now if wait.until is None else wait.until
            if until > wait.since:
                steps[wait.since] = steps.get(wait.since, 0.0) + usd_per_h
                steps[until] = steps.get(until, 0.0) - usd_per_h
        self._at = sorted(steps)
        self._usd: list[float] = []
        self._rates: list[float] = []
        usd, rate, before = 0.0, 0.0, None
        for at in self._at:
            usd += rate * _hours(before, at) if before is not None else 0.0
            rate += steps[at]
            before = at
            self._usd.append(usd)
            self._rates.append(rate)

    def usd_between(self, since: datetime, until: datetime) -> float:
        """What their waiting cost in this span, of all of them together."""
        return self._until(until) - self._until(since) if until > since else 0.0

    def _until(self, at: datetime) -> float:
        number = bisect_right(self._at, at) - 1
        if number < 0:
            return 0.0
        return self._usd[number] + self._rates[number] * _hours(self._at[number], at)


def captured_usd(entry: Entry, waiting: Waiting, places: int) -> float:
    """What the run's hours on its places cost those who waited: each of its places kept them for
    1/places of an hour an hour.
    """
    spans = sum(waiting.usd_between(*stay) for stay in entry.stays)
    return entry.gang * spans / places


def _hours(since: datetime, until: datetime) -> float:
    return (until - since).total_seconds() / 3600
