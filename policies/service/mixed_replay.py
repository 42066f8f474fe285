"""A trace played without a ceiling on replicas that always run and others that follow the load.

The same as `replay.play`, worked out over arrays: without a ceiling what the engine has does not
depend on what was served, and a month takes a few milliseconds in place of some hundred.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from mlbroker.policies.service.interface import UNBOUNDED
from mlbroker.policies.service.periods import DAY_MS
from mlbroker.policies.service.replay import Engine, Row, looks_of, rate_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"


class Group(NamedTuple):
    """`base_rps` requests a second are served by what always runs, and what is above them by
    `least` to `most` replicas of `rps` each, which the engine starts and stops. Of both so much,
    and this share, is gone all the time, which the engine does not know."""

    base_rps: float
    rps: float
    least: int = 0
    most: int = UNBOUNDED
    gone_base_rps: float = 0.0
    gone_share: float = 0.0


class Outcome(NamedTuple):
    """The share of the requests that was served, and the milliseconds of all replicas that the
    engine started and stopped. What always runs is not among them."""

    served: float
    replica_ms: int


class Trace:
    """A trace in looks of the engine, as arrays; looks that are alike are worked out at once."""

    def __init__(self, rows: Sequence[Row], engine: Engine) -> None:
        import numpy as np

        every = list(looks_of(rows))
        self.span_ms: Array = np.array([look.span_ms for look in every])
        self.requests: Array = np.array([look.requests for look in every])
        self.rates: Array = self.requests / self.span_ms * 1000
        self.length_ms = int(self.span_ms.sum())
        self._starts_ms: list[int] = [look.start_ms for look in every]
        self._ends_ms = [*self._starts_ms[1:], self._starts_ms[0] + self.length_ms]
        # The engine sees what came since its last look.
        self._seen: Array = np.concatenate([[rate_of(rows[0])], self.rates[:-1]])
        self._seen_edges = _edges(self._seen)
        self._edges = np.union1d(_edges(self.requests), _edges(self.span_ms))
        self._total = float(self.requests.sum())
        self.mean_rps = self._total / self.length_ms * 1000
        self.peak_rps = float(self.rates.max())
        self._engine = engine

    def held_rates(self) -> Array:
        """By look, the requests a second that the engine still has replicas for: the most that it
        saw within the delay after which it stops some."""
        import numpy as np

        steps = max(1, round(self._engine.downscale_ms * len(self.span_ms) / self.length_ms))
        padded = np.concatenate([np.full(steps, self._seen[0]), self._seen])
        held: Array = np.lib.stride_tricks.sliding_window_view(padded, steps + 1).max(axis=1)
        return held

    def rate_for(self, share: float) -> float:
        """The rate up to which an engine that is never late must go, for the share to be served."""
        wanted = share * self._total * 1000
        low, high = 0.0, self.peak_rps
        for _ in range(30):
            middle = (low + high) / 2
            served = float((self.rates.clip(max=middle) * self.span_ms).sum())
            low, high = (low, middle) if served >= wanted else (middle, high)
        return high

    def play(self, group: Group) -> Outcome:
        """The engine without a ceiling; the fleet runs already when the trace begins."""
        targets = self._targets(group)
        paid_ms = sum((end - start) * number for start, end, number in self._spans(targets))
        lost = self._lost(list(self._ready(targets)), group)
        return Outcome(1 - lost / self._total if self._total else 1.0, paid_ms)

    def replica_ms_by_day(self, group: Group) -> list[int]:
        """Of the replicas that follow the load, in each whole day of the trace from its beginning:
        milliseconds in all."""
        days = [0] * (self.length_ms // DAY_MS)
        first_ms = self._starts_ms[0]
        for start, end, number in self._spans(self._targets(group)):
            for day in range((start - first_ms) // DAY_MS, (end - first_ms - 1) // DAY_MS + 1):
                if day < len(days):
                    begins_ms = first_ms + day * DAY_MS
                    within_ms = min(end, begins_ms + DAY_MS) - max(start, begins_ms)
                    days[day] += number * within_ms
        return days

    def _spans(self, targets: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
        """From when to when there are how many."""
        for (look, number), (until, _) in pairwise([*targets, (len(self._ends_ms), 0)]):
            yield self._starts_ms[look], self._ends_ms[until - 1], number

    def _targets(self, group: Group) -> list[tuple[int, int]]:
        """From which look on the engine has how many, after its delays."""
        import numpy as np

        above = (self._seen[self._seen_edges] - group.base_rps) / group.rps
        needed = np.clip(np.ceil(above - 1e-9), group.least, group.most).astype(np.int64)
        changes = _edges(needed)
        edges = [*self._seen_edges[changes].tolist(), len(self._seen)]
        starts, engine = self._starts_ms, self._engine
        # In the beginning it has what the first row needs.
        target = int(needed[0])
        found = [(0, target)]
        above_ms = below_ms = None
        for (begin, end), wanted in zip(pairwise(edges), needed[changes].tolist(), strict=True):
            if wanted == target:
                above_ms = below_ms = None
                continue
            if wanted > target:
                above_ms, below_ms = starts[begin] if above_ms is None else above_ms, None
                due_ms = above_ms + engine.upscale_ms
            else:
                above_ms, below_ms = None, starts[begin] if below_ms is None else below_ms
                due_ms = below_ms + engine.downscale_ms
            if starts[end - 1] >= due_ms:
                target, above_ms, below_ms = wanted, None, None
                found.append((self._look_at(due_ms, begin), target))
        return found

    def _ready(self, targets: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """From which look on how many serve: those that have booted, the youngest stop first."""
        ready = targets[0][1]
        yield 0, ready
        booting: deque[list[int]] = deque()  # from which look on, and how many
        paid = ready
        for look, target in [*targets[1:], (len(self._starts_ms), -1)]:
            while booting and booting[0][0] < look:
                at, more = booting.popleft()
                ready += more
                yield at, ready
            if target > paid:
                booted_ms = self._starts_ms[look] + self._engine.boot_ms
                booting.append([self._look_at(booted_ms, look), target - paid])
            while booting and paid > target:
                stopped = min(paid - target, booting[-1][1])
                booting[-1][1] -= stopped
                paid -= stopped
                if not booting[-1][1]:
                    booting.pop()
            paid = target
            if 0 <= target < ready:
                ready = target
                yield look, ready

    def _look_at(self, moment_ms: int, first: int) -> int:
        """The first look at that moment or later."""
        return bisect_left(self._starts_ms, moment_ms, first)

    def _lost(self, ready: Sequence[tuple[int, int]], group: Group) -> float:
        """Requests that are turned away."""
        import numpy as np

        looks, numbers = zip(*ready, strict=True)
        edges = np.union1d(self._edges, looks)
        # Of several changes at a look the last holds.
        serving = np.array(numbers)[np.searchsorted(looks, edges, side="right") - 1]
        there_rps = group.base_rps - group.gone_base_rps
        per_s = there_rps + serving * (group.rps * (1 - group.gone_share))
        more = self.requests[edges] - per_s * self.span_ms[edges] / 1000
        over = np.flatnonzero(more > 0).tolist()
        if not over:
            return 0.0
        counts = np.diff([*edges.tolist(), len(self.requests)]).tolist()
        room, rise = (per_s * self._engine.queue_s).tolist(), more.tolist()
        lost, at = 0.0, 0
        for first in over:
            if first < at:
                continue
            at, queue = first, 0.0
            while at < len(rise):
                for looks_alike in (1, counts[at] - 1):
                    left = queue + looks_alike * rise[at]
                    # In the first look what waited may be more than there is room for now.
                    queue = 0.0 if left < 0.0 else room[at] if left > room[at] else left
                    if left > queue:
                        lost += left - queue
                at += 1
                if not queue:
                    break
        return lost


def _edges(values: Array) -> Array:
    """Where a value begins that is not the one before."""
    import numpy as np

    return np.concatenate([[0], np.flatnonzero(np.diff(values)) + 1])
