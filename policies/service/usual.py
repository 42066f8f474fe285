"""What is usual at an hour of the day, and how far a day is usually from it."""

from collections import deque
from collections.abc import Sequence
from math import log
from statistics import fmean, median

HOUR_S = 3600.0
DAY_S = 86_400.0
DAY_H = 24
DAYS = 7
# Before a day is over its error is a guess, of the weight of two days.
GUESSED_ERROR = 0.3
GUESSED_DAYS = 2


class Usual:
    """A quantity by the hour of the day: the median of seven days, of what is not known the mean.

    Hours of a surge are kept aside, and are usual once it has lasted a week.
    """

    def __init__(self) -> None:
        self._hours = [deque[float](maxlen=DAYS) for _ in range(DAY_H)]
        self._medians: list[float | None] = [None] * DAY_H
        self._aside: list[tuple[int, float]] = []
        self._hour: int | None = None
        self._sum = self._seconds = 0.0
        self._errors: list[float] = []
        self._calm = _Days()
        # Of the surge that is on.
        self._surging = _Days()
        self._surge_errors: list[float] = []
        self._day_before: float | None = None

    def add(self, now_s: float, value: float, span_s: float, *, surge: bool) -> None:
        """The value in the `span_s` before `now_s`."""
        hour = int((now_s - span_s / 2) // HOUR_S)
        usual = self.at(hour)
        if usual is not None:
            self._compare(value, usual, span_s, surge)
        if self._hour is not None and hour != self._hour:
            self._close(surge)
        self._hour = hour
        self._sum += value * span_s
        self._seconds += span_s

    def at(self, hour: int) -> float | None:
        """What is usual in this hour since 1970; None before anything is known."""
        known = self._medians[hour % DAY_H]
        return known if known is not None else self._mean()

    @property
    def days(self) -> float:
        """How much is known, in days."""
        return sum(len(each) for each in self._hours) / DAY_H

    @property
    def error(self) -> float:
        """By how much a day is usually beside what was expected of it: |log| of both.

        Of a usual day that is what was usual before it; of a day of the surge that is on, that it
        is as far above the usual as the surge's day before.
        """
        calm = _mean_error(self._errors, GUESSED_ERROR)
        return _mean_error(self._surge_errors, calm)

    def _mean(self) -> float | None:
        known = [each for each in self._medians if each is not None]
        if known:
            return fmean(known)
        return self._sum / self._seconds if self._seconds else None

    def _compare(self, value: float, usual: float, span_s: float, surge: bool) -> None:
        if not surge:
            self._surge_errors = []
            self._begin_surge_days()
            above = self._calm.add(value, usual, span_s)
            if above is not None:
                self._errors.append(abs(above))
            return
        above = self._surging.add(value, usual, span_s)
        if above is not None:
            if self._day_before is not None:
                self._surge_errors.append(abs(above - self._day_before))
            self._day_before = above

    def _begin_surge_days(self) -> None:
        self._surging, self._day_before = _Days(), None

    def _close(self, surge: bool) -> None:
        assert self._hour is not None
        done = self._hour % DAY_H, self._sum / self._seconds
        self._sum = self._seconds = 0.0
        self._aside = [*self._aside, done] if surge else [done]
        if surge and len(self._aside) < DAY_H * DAYS:
            return
        for hour, value in self._aside:
            self._hours[hour].append(value)
            self._medians[hour] = median(self._hours[hour])
        self._aside = []
        if surge:
            # What is usual is another now: days beside it are not held to those before.
            self._begin_surge_days()


class _Days:
    """Whole days of a quantity beside what is usual in the same hours."""

    def __init__(self) -> None:
        self._sum = self._usual = self._seconds = 0.0

    def add(self, value: float, usual: float, span_s: float) -> float | None:
        """When a day is full, the log of how many times the usual it was; None where it has none,
        and before that.
        """
        self._sum += value * span_s
        self._usual += usual * span_s
        self._seconds += span_s
        if self._seconds < DAY_S:
            return None
        whole, of = self._sum, self._usual
        self._sum = self._usual = self._seconds = 0.0
        # Not of their quotient: of rates next to nothing it is none.
        return log(whole) - log(of) if whole > 0 and of > 0 else None


def _mean_error(errors: Sequence[float], guess: float) -> float:
    return (sum(errors) + guess * GUESSED_DAYS) / (len(errors) + GUESSED_DAYS)
