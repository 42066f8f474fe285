"""What is usual at an hour of the day, and how far a day is usually from it."""

from collections import deque
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
        self._day_sum = self._day_usual = self._day_s = 0.0

    def add(self, now_s: float, value: float, span_s: float, *, surge: bool) -> None:
        """The value in the `span_s` before `now_s`."""
        hour = int((now_s - span_s / 2) // HOUR_S)
        usual = self.at(hour)
        if usual is not None and not surge:
            self._compare(value, usual, span_s)
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
        """By how much a day's mean is usually beside what was usual before it: |log| of both."""
        told = sum(self._errors) + GUESSED_ERROR * GUESSED_DAYS
        return told / (len(self._errors) + GUESSED_DAYS)

    def _mean(self) -> float | None:
        known = [each for each in self._medians if each is not None]
        if known:
            return fmean(known)
        return self._sum / self._seconds if self._seconds else None

    def _compare(self, value: float, usual: float, span_s: float) -> None:
        self._day_sum += value * span_s
        self._day_usual += usual * span_s
        self._day_s += span_s
        if self._day_s >= DAY_S:
            if self._day_sum > 0 and self._day_usual > 0:
                # Not of their quotient: of rates next to nothing it is none.
                self._errors.append(abs(log(self._day_sum) - log(self._day_usual)))
            self._day_sum = self._day_usual = self._day_s = 0.0

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
