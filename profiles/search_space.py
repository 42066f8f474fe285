"""What a study may try: each variable with its range or its values."""

import math
from collections.abc import Mapping
from typing import NamedTuple

Value = float | int | str
Point = Mapping[str, Value]


def as_text(value: Value) -> str:
    """A value as its environment variable has it."""
    return repr(value) if isinstance(value, float) else str(value)


class Range(NamedTuple):
    """Numbers from `low` to `high`; `log`: even in their logarithm; `whole`: integers alone."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def at(self, share: float) -> Value:
        """The number at this share of the way, 0 to 1."""
        if self.whole:
            # Each integer gets as much of the way as its neighbours.
            low, high = self.low - 0.5, self.high + 0.5
            low = max(low, 0.5) if self.log else low
            number = round(_between(low, high, share, self.log))
            return int(min(max(number, self.low), self.high))
        return min(max(_between(self.low, self.high, share, self.log), self.low), self.high)


class Choice(NamedTuple):
    """One of some values."""

    values: tuple[str, ...]

    def at(self, share: float) -> Value:
        """The value at this share of the way, 0 to 1."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]


Space = Mapping[str, Range | Choice]


def _between(low: float, high: float, share: float, log: bool) -> float:
    if log:
        return math.exp(_between(math.log(low), math.log(high), share, False))
    return low + (high - low) * share


class Study(NamedTuple):
    """What a job file says of a study of many trials.

    `more_is_better` of the `metric`. A whole trial has `most` steps of the `resource`, such as
    epochs. `trials` at most, None: as many as the money lasts. `lanes` work at a time, None: as
    many as deadline and price ask for. The best of the studies `start_from` are tried first.
    `regex` finds the metric in a line of the job's output: its group `metric`, else its first; its
    group `at` is the step, without which each find is one more. None: the job tells it to us.
    """

    metric: str
    more_is_better: bool
    space: Space
    resource: str
    most: int
    trials: int | None = None
    lanes: int | None = None
    start_from: tuple[str, ...] = ()
    regex: str | None = None

    def as_told(self, score: float) -> float:
        """A score, of which more is better, as the job tells its metric."""
        return score if self.more_is_better else -score


def variables(point: Point) -> dict[str, str]:
    """The environment variables of a trial at this point."""
    return {name: as_text(value) for name, value in point.items()}
