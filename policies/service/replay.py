"""A trace of requests, played on an autoscaling engine under a ceiling.

The engine is an autoscaler as SkyServe's: it wants as many replicas as the requests of the last
look need at `capacity_rps` each, and follows once it has wanted more (or fewer) for its delay
without a break. A replica is paid from its start, and serves once it has booted. Requests flow:
those that would wait longer than `queue_s` are turned away, so that whoever is served is in time.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from mlbroker.policies.service.interface import Period, Policy, Sight, Terms

# Looks are this far apart at most.
LOOK_MS = 60_000


class Row(NamedTuple):
    """So many requests in a span of time, evenly."""

    start_ms: int
    span_ms: int
    requests: float


class Engine(NamedTuple):
    """What a replica serves, how it starts, and when the engine follows its load."""

    capacity_rps: float
    boot_ms: int = 300_000
    queue_s: float = 10.0
    upscale_ms: int = 300_000
    downscale_ms: int = 1_200_000


@dataclass(slots=True)
class Played:
    """What came of it: requests, milliseconds and units (by period)."""

    requests: float = 0.0
    served: float = 0.0
    dark_ms: int = 0
    spent: dict[Period, int] = field(default_factory=dict)

    @property
    def all_spent(self) -> int:
        """Units of all periods."""
        return sum(self.spent.values())


def play(rows: Sequence[Row], engine: Engine, terms: Terms, policy: Policy) -> Played:
    """The service runs already when the trace begins, with what its first row needs."""
    played, fleet = Played(), _Fleet(engine, terms, rows[0])
    queue, rate = 0.0, rate_of(rows[0])
    for start_ms, span_ms, requests in looks_of(rows):
        wanted = fleet.wanted(start_ms, rate)
        sight = Sight(
            start_ms, start_ms, rate, fleet.needed(rate), wanted, fleet.paid, played.all_spent
        )
        fleet.move_to(min(wanted, policy.ceiling(sight)), start_ms)
        rate = requests / span_ms * 1000
        capacity = fleet.ready * engine.capacity_rps
        waiting = queue + requests
        served = min(waiting, capacity * span_ms / 1000)
        queue = min(waiting - served, capacity * engine.queue_s)
        played.requests += requests
        played.served += served
        played.dark_ms += span_ms if requests and not fleet.ready else 0
        _charge(played, terms, fleet.paid, start_ms, start_ms + span_ms)
    played.served += queue
    return played


class _Fleet:
    """The engine's replicas: those that serve, and when each of the others will."""

    def __init__(self, engine: Engine, terms: Terms, first: Row) -> None:
        self._engine = engine
        self._terms = terms
        self._target = self.needed(rate_of(first))
        self._above_ms: int | None = None
        self._below_ms: int | None = None
        self.ready = self._target
        self._booting: deque[int] = deque()

    @property
    def paid(self) -> int:
        """Replicas that cost money."""
        return self.ready + len(self._booting)

    def wanted(self, now_ms: int, rate: float) -> int:
        """How many the engine wants, after its delays."""
        needed = self.needed(rate)
        if needed <= self._target:
            self._above_ms = None
        elif self._above_ms is None:
            self._above_ms = now_ms
        if needed >= self._target:
            self._below_ms = None
        elif self._below_ms is None:
            self._below_ms = now_ms
        engine = self._engine
        rises = self._above_ms is not None and now_ms - self._above_ms >= engine.upscale_ms
        falls = self._below_ms is not None and now_ms - self._below_ms >= engine.downscale_ms
        if rises or falls:
            self._target, self._above_ms, self._below_ms = needed, None, None
        return self._target

    def move_to(self, target: int, now_ms: int) -> None:
        """Start or stop so many that the target is met: the youngest stop first."""
        while self.paid < target:
            self._booting.append(now_ms + self._engine.boot_ms)
        while self.paid > target and self._booting:
            self._booting.pop()
        self.ready = min(self.ready, target)
        while self._booting and self._booting[0] <= now_ms:
            self._booting.popleft()
            self.ready += 1

    def needed(self, rate: float) -> int:
        """How many these requests a second need, within the engine's own limits."""
        needed = math.ceil(rate / self._engine.capacity_rps - 1e-9)
        return min(max(needed, self._terms.least), self._terms.most)


def looks_of(rows: Sequence[Row]) -> Iterator[Row]:
    """The rows in parts of at most a look."""
    for start_ms, span_ms, requests in rows:
        parts = -(-span_ms // LOOK_MS)
        edges = [start_ms + span_ms * number // parts for number in range(parts + 1)]
        for begin, end in pairwise(edges):
            yield Row(begin, end - begin, requests * (end - begin) / span_ms)


def rate_of(row: Row) -> float:
    """Requests a second."""
    return row.requests / row.span_ms * 1000


def _charge(played: Played, terms: Terms, paid: int, start_ms: int, end_ms: int) -> None:
    at_ms = start_ms
    while at_ms < end_ms:
        period = terms.period_of(at_ms)
        until_ms = min(end_ms, period.end_ms)
        units = paid * terms.nano_usd_per_h * (until_ms - at_ms)
        played.spent[period] = played.spent.get(period, 0) + units
        at_ms = until_ms
