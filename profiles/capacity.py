"""The greatest rate at which a service keeps its objective, from windows of load at chosen rates.

Close to its capacity a queue's long waits come in heaps: a window tells little, and much less than
its number of requests. So the rates around the capacity are loaded again and again. Where to is
told by a logistic curve of the late share over the log rate, and what came of it by a desk that is
played (`desk.py`): the chance of the arrivals, which the curve takes for the server's, is known.

It is searched where the load is made, in Python 3.8 if need be: the load's program has both files
by links, and finds one beside the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean
from typing import NamedTuple

from .desk import Asked, read_capacity

# A window of the search holds so many requests, or times of the objective, at least.
FEWEST_REQUESTS = 100
SPANS = 16.0
SHORTEST_S = 2.0
# The search has come so near when it turns to measuring, in windows that are longer.
NEAR = 1.3
LONG_FACTOR = 12.0
# Of the time, so many long windows. A window begins without a queue, so short ones flatter: the
# first long one is below what they say.
LONG_WINDOWS = 4
AROUND = (0.96, 1.0, 0.98, 1.02)
# What is further off says nothing of the curve there.
FITTED_WITHIN = 0.25
# Slopes of the logit over the log rate: queues with room for few services to wait have 5, those
# with room for 30 have 40. The prior (mean and standard deviation of its log) is as wide.
SLOPES = [2.0 * 1.15**i for i in range(26)]
PRIOR = (math.log(15.0), 0.7)
# Long waits follow one another: about so many of them are one event.
OVERDISPERSION = 20.0
Z90 = NormalDist().inv_cdf(0.9)
# Of a window so many times of the objective pass before the queue is as long as it usually is.
SKIPPED = 10.0
# So much of a rate a search may go up at once, and down.
RAMP = 2.0
# Below this part of what one request after the other would make, it is given up.
LOWEST = 0.02


class Window(NamedTuple):
    """Load for so many seconds. Who comes in the first `skip_s` is not judged; more than `most_bad`
    not in time end it. With `settle`, what came before is waited out first."""

    rate_rps: float
    seconds: float
    skip_s: float
    most_bad: int
    settle: bool


class Seen(NamedTuple):
    """What became of a window: of `judged` requests `good` were in time. `asked` are all of it."""

    rate_rps: float
    judged: int
    good: int
    stopped: bool = False
    asked: Sequence[Asked] = ()


class Capacity(NamedTuple):
    """The greatest rate, and the one below which it is with 10 % only. `at_least`: it was not
    reached, as whoever makes the load was at the end first."""

    rps: float
    low_rps: float
    windows: int
    at_least: bool = False


class CapacitySearch:
    """Which rate to load next, until the time is used up."""

    def __init__(self, share: float, within_s: float, alone_s: float, budget_s: float) -> None:
        """`alone_s` is what one request by itself takes, in seconds."""
        self._late = 1.0 - share
        self._within_s = within_s
        self._left_s = budget_s
        self._budget_s = budget_s
        self._first_rps = 0.5 / max(alone_s, 1e-4)
        self._seen: list[Seen] = []
        self._measured = 0
        self._capped = False

    @property
    def given_up(self) -> bool:
        """Whether the objective was not met at the lowest rate either."""
        bad = [seen for seen in self._seen if not self._passed(seen)]
        return len(bad) == len(self._seen) > 0 and (
            min(seen.rate_rps for seen in bad) <= LOWEST * self._first_rps or self._over()
        )

    def next(self) -> Window | None:
        """The next window; None when it is known, or the time is used up."""
        if self._over() or self._capped or self.given_up:
            return None
        lo, hi = self._bracket()
        if hi is None:
            if lo is None:
                return self._window(self._first_rps, short=True)
            return self._window(lo * RAMP, short=True)
        if lo is None:
            return self._window(hi / RAMP, short=True)
        if hi / lo > NEAR:
            return self._window(math.sqrt(lo * hi), short=True)
        return self._long(lo)

    def add(self, seen: Seen, took_s: float, *, generator_is_late: bool = False) -> None:
        """What became of the last window. A generator that was late itself tells nothing of the
        server."""
        self._left_s -= took_s
        if generator_is_late and not self._passed(seen):
            self._capped = True
            return
        self._seen.append(seen)

    def result(self) -> Capacity | None:
        """The capacity; None where no rate met the objective."""
        passed = [seen.rate_rps for seen in self._seen if self._passed(seen)]
        if not passed:
            return None
        _, hi = self._bracket()
        if self._capped or hi is None:
            return Capacity(max(passed), max(passed), len(self._seen), at_least=True)
        # What kept the objective by chance may all be above the least that did not.
        rps = self._root(self._seen)
        if rps is None:
            return Capacity(max(passed), min(passed), len(self._seen))
        near = [seen for seen in self._seen if _near(seen.rate_rps, rps)]
        read = read_capacity([seen.asked for seen in near], self._late, self._within_s)
        if read is not None:
            low_rps = read.rps * math.exp(-Z90 * read.sigma_log)
            return Capacity(read.rps, low_rps, len(self._seen))
        return Capacity(rps, self._jackknifed(near, rps), len(self._seen))

    def _jackknifed(self, near: Sequence[Seen], rps: float) -> float:
        """The bound, by what the curve says without each window."""
        without = [
            math.log(self._root([other for other in near if other is not seen]) or rps)
            for seen in near
        ]
        count = len(without)
        mean = fmean(without)
        variance = (count - 1) / count * sum((each - mean) ** 2 for each in without)
        # Student's quantile at 90 %, to the first order beyond the normal's.
        quantile = Z90 * (1 + (Z90**2 + 1) / (4 * max(1, count - 2)))
        return rps * math.exp(-quantile * math.sqrt(variance))

    def _over(self) -> bool:
        return bool(self._seen) and self._left_s < self._long_s(self._seen[-1].rate_rps) / 2

    def _passed(self, seen: Seen) -> bool:
        return not seen.stopped and seen.judged - seen.good <= self._late * seen.judged

    def _bracket(self) -> tuple[float | None, float | None]:
        """The greatest rate below the capacity and the least above it, as far as was seen."""
        hi = min((s.rate_rps for s in self._seen if not self._passed(s)), default=None)
        # A success above a failure is chance: short windows begin without a queue.
        passed = [s.rate_rps for s in self._seen if self._passed(s)]
        return max((rate for rate in passed if hi is None or rate < hi), default=None), hi

    def _short_s(self, rate_rps: float) -> float:
        least_s = max(SHORTEST_S, SPANS * self._within_s, FEWEST_REQUESTS / rate_rps)
        return min(least_s, self._budget_s / 10)

    def _long_s(self, rate_rps: float) -> float:
        return max(
            self._short_s(rate_rps),
            min(LONG_FACTOR * self._short_s(rate_rps), self._budget_s / (LONG_WINDOWS + 1)),
        )

    def _window(self, rate_rps: float, *, short: bool) -> Window:
        seconds = self._short_s(rate_rps) if short else min(self._long_s(rate_rps), self._left_s)
        count = rate_rps * seconds
        most_bad = 3 * self._late * count + 10 if short else count / 2
        skip_s = min(SKIPPED * self._within_s, seconds / 5)
        return Window(rate_rps, seconds, skip_s, int(most_bad), bool(self._seen))

    def _long(self, otherwise_rps: float) -> Window:
        believed = self._root(self._seen) or otherwise_rps
        rate = believed * AROUND[self._measured % len(AROUND)]
        self._measured += 1
        return self._window(rate, short=False)

    def _root(self, seen: Sequence[Seen]) -> float | None:
        """Where the curve through the windows crosses the objective's late share."""
        lo, hi = self._bracket()
        centre = lo if lo is not None else hi
        for _ in range(4):
            if centre is None:
                return None
            near = [each for each in seen if _near(each.rate_rps, centre)]
            if len(near) < 2:
                return centre if near else None
            found = _crossing(near, self._late)
            if abs(math.log(found / centre)) < 1e-4:
                return found
            centre = min(max(found, centre / 1.15), centre * 1.15)
        return centre


def _near(rate: float, centre: float) -> bool:
    return abs(math.log(rate / centre)) < FITTED_WITHIN


def _crossing(seen: Sequence[Seen], late: float) -> float:
    """The rate at which the most likely logistic curve is `late`.

    logit(share) = logit(late) + slope · (log rate less log root): quasi-likelihood of the
    counts; the slope under its prior, the root by bisection for each.
    """
    offset = math.log(late / (1 - late))
    rows = [(math.log(s.rate_rps), s.judged - s.good, s.judged) for s in seen]
    best, root = -math.inf, 0.0
    for slope in SLOPES:
        at = _root_for(slope, offset, rows)
        likelihood = 0.0
        for x, bad, count in rows:
            eta = offset + slope * (x - at)
            # log(1 + e^eta) without overflow
            likelihood += bad * eta - count * (max(eta, 0.0) + math.log1p(math.exp(-abs(eta))))
        # Requests of a window stand for a fraction as many that are independent.
        told = likelihood / OVERDISPERSION - ((math.log(slope) - PRIOR[0]) / PRIOR[1]) ** 2 / 2
        if told > best:
            best, root = told, at
    return math.exp(root)


def _root_for(slope: float, offset: float, rows: Sequence[tuple[float, int, int]]) -> float:
    """Where the curve expects as many late ones as there were, log of the rate."""
    # Half a late one of what the objective allows is added to none at all.
    total = sum(bad for _, bad, _ in rows) or 0.5
    low, high = min(x for x, _, _ in rows) - 1.0, max(x for x, _, _ in rows) + 1.0
    for _ in range(40):
        at = (low + high) / 2
        expected = sum(n / (1 + math.exp(-(offset + slope * (x - at)))) for x, _, n in rows)
        # A curve that lies further right expects fewer.
        low, high = (at, high) if expected > total else (low, at)
    return (low + high) / 2
