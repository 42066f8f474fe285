"""A server read off its answers: how many it works on at once, and how long each takes.

Close to capacity long waits come in heaps, and two minutes hold few: counted alone, the late ones
put the capacity 5 % off every third time. Most of that is the chance of the arrivals, which we made
and know. So a desk is set up that answers as the server did, its speed is set so that with the very
same arrivals as many are late as were, and it is played with other arrivals for long.
What the desk gets wrong of the server cancels but for the difference between those two.

It is read where the load is made, in Python 3.8 if need be: the load's program has it by a link.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heappop, heappush, heapreplace
from itertools import accumulate
from statistics import median, stdev
from typing import NamedTuple

ALL_AT_ONCE = 10**9
# Desks that are tried; the last works on all at once.
WORKERS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, ALL_AT_ONCE)
# Answers that were alike in how many were inside are drawn from together, so many at least.
FEWEST_ALIKE = 40
# The parts whose scatter is how sure the speed is.
PARTS = 16
# Requests that are played: with the same arrivals, with others, and to see what changes how much.
SAME, OTHERS, SHORT = 20_000, 150_000, 20_000
AGAIN = 8
# How sure the log of a desk's speed is by itself, and how sure that of a rate is at best.
DESK_SIGMA, LEAST_SIGMA = 0.03, 0.01
# So far, in logs, speeds and rates are looked for.
FAR = 0.5
_STEP, _NEAR, _MOST_STEPS = 0.03, 0.002, 8


class Asked(NamedTuple):
    """One request: when it came and when its answer ended, in seconds of its window.

    `tail_s` of the answer came behind the moment that the objective is about. `failed`: it was not
    served, whatever time it took.
    """

    due_s: float
    done_s: float
    tail_s: float = 0.0
    failed: bool = False


class Drawn(NamedTuple):
    """What an answer takes a worker, of which `tail_s` do not count."""

    works_s: float
    tail_s: float
    failed: bool


class Desk(NamedTuple):
    """So many workers with one queue. What an answer takes is drawn from the `draws` of those who
    found as many inside: the first up to `inside[0]`, and so on."""

    workers: int
    inside: Sequence[int]
    draws: Sequence[Sequence[Drawn]]


class Read(NamedTuple):
    """The rate at which the share of late ones is the objective's, and how sure its log is."""

    rps: float
    sigma_log: float


def read_capacity(windows: Sequence[Sequence[Asked]], late: float, within_s: float) -> Read | None:
    """What these windows of load tell of the rate at which the share `late` is not in time.

    None where they hold too little: few requests, none that was late, or none in time.
    """
    windows = [window for window in windows if window]
    total = sum(map(len, windows))
    bad = sum(_is_late(asked, within_s) for window in windows for asked in window)
    if total < FEWEST_ALIKE or not 0 < bad < total:
        return None
    desk = read_off(windows)
    same = _Same(desk, windows, within_s)
    found = _solved(lambda slower: same.logit_late(slower) - _logit(bad, total))
    if found is None:
        return None
    beside = same.sigma(found)
    # What is seen of the speed, and what the desk is believed: each by how sure it is.
    trust = DESK_SIGMA**2 / (DESK_SIGMA**2 + beside**2)
    slower = trust * found
    rate = total / sum(window[-1].due_s for window in windows)
    others = _Others(desk, rate, late, within_s)
    log_rate = _solved(lambda log: others.above(log, slower))
    if log_rate is None:
        return None
    sigma = math.hypot(
        others.by_speed(log_rate, slower) * math.sqrt(trust) * beside,
        others.by_draws(log_rate, slower),
        LEAST_SIGMA,
    )
    return Read(rate * math.exp(log_rate), sigma)


def read_off(windows: Sequence[Sequence[Asked]]) -> Desk:
    """The desk whose answers scatter least, once it is known how many were inside."""
    inside = [_found_inside(window) for window in windows]
    best: tuple[float, Desk] | None = None
    for workers in WORKERS:
        found: list[tuple[int, Drawn]] = []
        for window, levels in zip(windows, inside):
            found += zip(levels, _worked(window, workers))
        limits, draws = _alike(found)
        scatter = sum(map(_scatter, draws))
        # Of desks that do about as well, the one with fewer workers.
        if best is None or scatter < 0.98 * best[0]:
            best = scatter, Desk(workers, limits, draws)
    assert best is not None
    return best[1]


def _is_late(asked: Asked, within_s: float) -> bool:
    return asked.failed or asked.done_s - asked.tail_s - asked.due_s > within_s


def _found_inside(window: Sequence[Asked]) -> list[int]:
    """How many were inside when each came."""
    levels: list[int] = []
    leaving: list[float] = []
    for asked in window:
        while leaving and leaving[0] <= asked.due_s:
            heappop(leaving)
        levels.append(len(leaving))
        if not asked.failed:
            heappush(leaving, asked.done_s)
    return levels


def _worked(window: Sequence[Asked], workers: int) -> Iterator[Drawn]:
    """What each took its worker, if there were so many, first come first served."""
    free: list[float] = []
    for asked in window:
        if asked.failed:
            yield Drawn(asked.done_s - asked.due_s, asked.tail_s, True)
            continue
        start_s = asked.due_s
        if len(free) < workers:
            heappush(free, asked.done_s)
        else:
            start_s = max(start_s, free[0])
            heapreplace(free, asked.done_s)
        yield Drawn(asked.done_s - start_s, asked.tail_s, False)


def _scatter(alike: Sequence[Drawn]) -> float:
    works = [each.works_s for each in alike if not each.failed]
    middle = median(works) if works else 0.0
    return sum(abs(each - middle) for each in works)


def _alike(found: Iterable[tuple[int, Drawn]]) -> tuple[list[int], list[list[Drawn]]]:
    """Those who found as many inside; neighbours together where they are few."""
    by_level: dict[int, list[Drawn]] = {}
    for level, drawn in found:
        by_level.setdefault(level, []).append(drawn)
    limits: list[int] = []
    draws: list[list[Drawn]] = []
    for level in sorted(by_level):
        if draws and len(draws[-1]) < FEWEST_ALIKE:
            draws[-1] += by_level[level]
            limits[-1] = level
        else:
            draws.append(by_level[level])
            limits.append(level)
    if len(draws) > 1 and len(draws[-1]) < FEWEST_ALIKE:
        few = draws.pop()
        draws[-1] += few
        limits.pop(-2)
    return limits, [sorted(alike) for alike in draws]


def _play(
    desk: Desk, dues: Iterable[float], slower: float, within_s: float, chance: random.Random
) -> Iterator[bool]:
    """Whether each who comes is late; answers take exp(slower) times what they took.

    Draws are in order, so that the same chance takes much the same answers of a desk like it.
    """
    factor = math.exp(slower)
    free: list[float] = []
    leaving: list[float] = []
    limits, draws, workers = desk.inside[:-1], desk.draws, desk.workers
    draw = chance.random
    for due_s in dues:
        while leaving and leaving[0] <= due_s:
            heappop(leaving)
        alike = draws[bisect_left(limits, len(leaving))]
        works_s, tail_s, failed = alike[int(draw() * len(alike))]
        if failed:
            yield True
            continue
        if workers == ALL_AT_ONCE:
            done_s = due_s + works_s * factor
        elif len(free) < workers:
            done_s = due_s + works_s * factor
            heappush(free, done_s)
        else:
            # Where the desk has too few workers, what one took may be below zero.
            done_s = max(due_s, max(due_s, free[0]) + works_s * factor)
            heapreplace(free, done_s)
        heappush(leaving, done_s)
        yield done_s - tail_s * factor - due_s > within_s


class _Same:
    """The desk, with the arrivals that there were."""

    def __init__(self, desk: Desk, windows: Sequence[Sequence[Asked]], within_s: float) -> None:
        self._desk, self._windows, self._within_s = desk, windows, within_s
        self._total = sum(map(len, windows))
        self._times = max(1, SAME // self._total)

    def logit_late(self, slower: float) -> float:
        """Of the share of late ones."""
        late = sum(sum(self._expected(number, slower)) for number in range(len(self._windows)))
        return _logit(late, self._total)

    def sigma(self, slower: float) -> float:
        """How sure the speed is: by the scatter, between parts, of the late ones less those that
        were expected with those arrivals. Parts that follow one another are alike."""
        beside: list[float] = []
        rises = 0.0
        for number, window in enumerate(self._windows):
            expected = self._expected(number, slower)
            below, above = (self._expected(number, slower + step) for step in (-_STEP, _STEP))
            rises += (sum(above) - sum(below)) / (2 * _STEP)
            count = max(1, round(PARTS * len(window) / self._total))
            edges = [len(window) * each // count for each in range(count + 1)]
            beside += [
                sum(_is_late(asked, self._within_s) for asked in window[begin:end])
                - sum(expected[begin:end])
                for begin, end in zip(edges, edges[1:])
            ]
        if rises <= 0 or len(beside) < 2:
            return math.inf
        square = sum(each**2 for each in beside)
        neighbours = max(0.0, sum(one * other for one, other in zip(beside, beside[1:])))
        # The times that were played are as uncertain as the one that was seen.
        return math.sqrt((square + 2 * neighbours) * (1 + 1 / self._times)) / rises

    def _expected(self, number: int, slower: float) -> list[float]:
        """For each request of a window, how often it is late."""
        chance = random.Random(number)
        dues = [asked.due_s for asked in self._windows[number]]
        late = [0] * len(dues)
        for _ in range(self._times):
            for at, each in enumerate(_play(self._desk, dues, slower, self._within_s, chance)):
                late[at] += each
        return [each / self._times for each in late]


class _Others:
    """The desk, with other arrivals, for long."""

    def __init__(self, desk: Desk, rate_rps: float, late: float, within_s: float) -> None:
        self._desk, self._rate_rps, self._late, self._within_s = desk, rate_rps, late, within_s
        chance = random.Random(1)
        self._gaps = [chance.expovariate(1.0) for _ in range(OTHERS)]

    def above(self, log_rate: float, slower: float) -> float:
        """The logit of the late share less that of the objective."""
        return self._logit_late(self._desk, log_rate, slower, OTHERS) - self._allowed

    def by_speed(self, log_rate: float, slower: float) -> float:
        """How far the log of the rate falls for one of the speed."""
        by_speed = self._slope(log_rate, slower, 0.0, _STEP)
        return by_speed / self._slope(log_rate, slower, _STEP, 0.0)

    def by_draws(self, log_rate: float, slower: float) -> float:
        """How uncertain the log of the rate is as only so many answers were seen (a bootstrap)."""
        chance = random.Random(2)
        found = []
        for _ in range(AGAIN):
            draws = [sorted(chance.choices(alike, k=len(alike))) for alike in self._desk.draws]
            desk = self._desk._replace(draws=draws)
            found.append(self._logit_late(desk, log_rate, slower, SHORT))
        return stdev(found) / self._slope(log_rate, slower, _STEP, 0.0)

    @property
    def _allowed(self) -> float:
        return math.log(self._late / (1 - self._late))

    def _slope(self, log_rate: float, slower: float, by_rate: float, by_speed: float) -> float:
        above = self._logit_late(self._desk, log_rate + by_rate, slower + by_speed, SHORT)
        below = self._logit_late(self._desk, log_rate - by_rate, slower - by_speed, SHORT)
        return max((above - below) / (2 * _STEP), 1.0)

    def _logit_late(self, desk: Desk, log_rate: float, slower: float, count: int) -> float:
        gap_s = math.exp(-log_rate) / self._rate_rps
        dues = (moment * gap_s for moment in accumulate(self._gaps[:count]))
        return _logit(sum(_play(desk, dues, slower, self._within_s, random.Random(0))), count)


def _logit(late: float, count: int) -> float:
    return math.log((late + 0.5) / (count - late + 0.5))


def _solved(above: Callable[[float], float]) -> float | None:
    """Where a function that rises crosses zero, by secants; None where it is further than FAR."""
    at, slope = 0.0, 10.0
    value = above(at)
    for _ in range(_MOST_STEPS):
        step = min(max(-value / slope, -0.15), 0.15)
        if abs(step) < _NEAR:
            return at + step
        at += step
        if abs(at) > FAR:
            return None
        before, value = value, above(at)
        # Of a short step the chance says more than the slope.
        if abs(step) >= _STEP:
            slope = min(max((value - before) / step, 2.0), 60.0)
    return at
