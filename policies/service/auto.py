"""The water level under a hard shell: the month's money lasts the month, surges included.

The level is what the forecast leaves: the usual hours until the period's end. While a surge lasts
they are multiplied by what its last hour was above the usual, for as long ahead as the surge has
lasted already (of what nobody knows the end of, half is over at best guess), an hour at least.

A level that is too low turns requests away for money that is left over in the end; one that is
too high is made good by a lower one later, and the shell stands behind it. So it is taken on the
high side by what forecasts of a day are usually beside the truth, less and less towards the end
(times the root of what is left, as a share of the period or of a day, whichever is longer).

While money is short, what ran idle for a whole lease is stopped ahead of the engine's own delay.
"""

from collections import deque
from math import exp, sqrt

from mlbroker.policies.service.ceiling import Purse, water_level
from mlbroker.policies.service.interface import HOUR_MS, UNBOUNDED, Sight, Terms
from mlbroker.policies.service.periods import DAY_MS
from mlbroker.policies.service.surge import SurgeWatch
from mlbroker.policies.service.usual import HOUR_S, Usual

# The level is worked out anew after so much of a period, and every ten minutes in a month. It lies
# between two whole numbers by slices of as much, several leases at least: each may start a replica.
_PARTS = 120
_RENEWED_MS = 600_000
_SLICE_LEASES = 4
Z90 = 1.2816  # a standard normal is below it in nine of ten cases
ALARM = 3.0


class Auto:
    """At most min(shell, max(least, level)) replicas."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self.purse = Purse(terms)
        self._wanted = Usual()
        self._surge = SurgeWatch()
        self._lately = _Lately()
        self._needs: deque[tuple[int, int]] = deque()  # falling: the most of what is left first
        self._last_ms: int | None = None
        self._level = float("inf")
        self._level_ms: int | None = None

    def ceiling(self, sight: Sight) -> int:
        """The shell's word is the last."""
        self.purse.look(sight)
        began_s = self._surge.since_s
        if self._last_ms is not None and sight.steady_ms > self._last_ms:
            self._learn(sight, (sight.steady_ms - self._last_ms) / 1000)
        self._last_ms = sight.steady_ms
        start_ms, end_ms = self._terms.period_of(sight.wall_ms)
        part_ms = (end_ms - start_ms) // _PARTS
        renewed_ms = min(part_ms, _RENEWED_MS)
        stale = self._level_ms is None or sight.steady_ms - self._level_ms >= renewed_ms
        if stale or began_s != self._surge.since_s:
            self._level, self._level_ms = self._find_level(sight.wall_ms), sight.steady_ms
        slice_ms = max(part_ms, _SLICE_LEASES * self._terms.lease_ms)
        ceiling = self._sliced(sight.wall_ms % slice_ms / slice_ms)
        needed = self._needed_lately(sight)
        if ceiling < UNBOUNDED:
            ceiling = min(ceiling, needed)
        return self.purse.allow(sight, max(self._terms.least, ceiling))

    def month_end(self, now_ms: int) -> tuple[int, int, int]:
        """Units that the period comes to by its end: the 10th, 50th and 90th percentile.

        The usual hours under the level, with the usual error of a day's forecast; never above the
        cap.
        """
        start_ms, end_ms = self._terms.period_of(now_ms)
        spent, cap = self.purse.spent(now_ms), self._terms.cap
        forecast = self._forecast(now_ms / 1000, end_ms / 1000)
        share_left = (end_ms - now_ms) / max(end_ms - start_ms, DAY_MS)
        wide = exp(Z90 * self._wanted.error * sqrt(max(share_left, 0.0)))

        def comes_to(factor: float) -> int:
            found = 0.0
            for wanted, hours in forecast:
                found += min(max(wanted * factor, self._terms.least), self._level) * hours
            return min(spent + round(found * self._terms.nano_usd_per_h * HOUR_MS), max(cap, spent))

        return comes_to(1 / wide), comes_to(1.0), comes_to(wide)

    def alarm(self, now_ms: int) -> float | None:
        """How many times the usual is wanted, where that is thrice or more and would break the
        cap if there were no ceiling; else None.
        """
        end_ms = self._terms.period_of(now_ms).end_ms
        usual = self._wanted.at(int(now_ms // 1000 // HOUR_S))
        if not usual or self._lately.mean() < ALARM * usual:
            return None
        forecast = self._forecast(now_ms / 1000, end_ms / 1000)
        hours = sum(max(wanted, self._terms.least) * hours for wanted, hours in forecast)
        coming = hours * self._terms.nano_usd_per_h * HOUR_MS
        return self._lately.mean() / usual if coming > self.purse.left(now_ms) else None

    def _needed_lately(self, sight: Sight) -> int:
        """The most that was needed within the last lease; unbounded before so much is known."""
        now_ms, needs = sight.steady_ms, self._needs
        since_ms = now_ms - self._terms.lease_ms
        if not needs:
            needs.append((now_ms, UNBOUNDED))
        while needs and (needs[-1][1] <= sight.needed):
            needs.pop()
        needs.append((now_ms, sight.needed))
        while needs[0][0] <= since_ms:
            needs.popleft()
        return needs[0][1]

    def _learn(self, sight: Sight, span_s: float) -> None:
        now_s = sight.wall_ms / 1000
        self._surge.look(now_s, sight.requests_per_s, span_s)
        surge = self._surge.since_s is not None
        self._wanted.add(now_s, sight.wanted, span_s, surge=surge)
        self._lately.add(sight.wanted, span_s)

    def _find_level(self, now_ms: int) -> float:
        start_ms, end_ms = self._terms.period_of(now_ms)
        left_h = self.purse.left(now_ms) / (self._terms.nano_usd_per_h * HOUR_MS)
        share_left = (end_ms - now_ms) / max(end_ms - start_ms, DAY_MS)
        generous = exp(self._wanted.error * sqrt(share_left))
        forecast = self._forecast(now_ms / 1000, end_ms / 1000)
        return water_level(forecast, self._terms.least, left_h * generous)

    def _forecast(self, now_s: float, end_s: float) -> list[tuple[float, float]]:
        """Replicas that are wanted, and for how many hours, until the period ends."""
        ratio, lasts_s = self._surging(now_s)
        found, hour, at_s = [], int(now_s // HOUR_S), now_s
        while at_s < end_s:
            until_s = min((hour + 1) * HOUR_S, end_s)
            usual = self._wanted.at(hour)
            if usual is None:
                return []
            above = ratio if at_s < now_s + lasts_s else 1.0
            found.append((usual * above, (until_s - at_s) / HOUR_S))
            hour, at_s = hour + 1, until_s
        return found

    def _surging(self, now_s: float) -> tuple[float, float]:
        """How many times the usual is wanted now, and for how long that is reckoned with."""
        since_s, usual = self._surge.since_s, self._wanted.at(int(now_s // HOUR_S))
        if since_s is None or not usual:
            return 1.0, 0.0
        return max(self._lately.mean() / usual, 1.0), max(now_s - since_s, HOUR_S)

    def _sliced(self, part: float) -> int:
        if self._level == float("inf"):
            return UNBOUNDED
        whole = int(self._level)
        return whole + (part < self._level - whole)


class _Lately:
    """The mean of the last hour."""

    def __init__(self) -> None:
        self._parts: deque[tuple[float, float]] = deque()
        self._sum = self._seconds = 0.0

    def add(self, value: float, span_s: float) -> None:
        """For so long it was so much."""
        self._parts.append((value, span_s))
        self._sum += value * span_s
        self._seconds += span_s
        while self._seconds - self._parts[0][1] >= HOUR_S:
            old, span = self._parts.popleft()
            self._sum -= old * span
            self._seconds -= span

    def mean(self) -> float:
        """Of what was added at least once."""
        return self._sum / self._seconds
