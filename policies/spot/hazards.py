"""How long spot machines live and outages last, by age, and what a zone's own past says of it."""

import math
from dataclasses import dataclass

import numpy as np

# Classes of age by their lower edges, in hours. A machine that lived long lives on, and an outage
# that lasted goes on: rates an hour, from recorded V100 availability of three zones.
AGES_H = np.array([0, 1 / 6, 0.5, 1.5, 4, 12])
PREEMPTIONS_PER_H = 1.5 * np.array([2, 1, 0.5, 0.22, 0.12, 0.05])
RECOVERIES_PER_H = np.array([2.5, 1.6, 0.8, 0.45, 0.3, 0.12])
_BEGIN_H: list[float] = AGES_H.tolist()
_END_H = [*_BEGIN_H[1:], math.inf]
# Whoever looks for the first time most likely sees what has been so for a while.
UNKNOWN_AGE_H = 2.0
# A zone is taken to be like the others until some eight events have told otherwise.
PRIOR_EVENTS = 8.0
_LEVELS = 1.5


def age_class(age_h: float) -> int:
    """Which class of `AGES_H` this age is in."""
    return int(np.searchsorted(AGES_H, age_h, side="right")) - 1


@dataclass(slots=True)
class Record:
    """What was seen of one zone's machines: events, and how many were to be expected."""

    events: float = 0.0
    expected: float = 0.0

    @property
    def factor(self) -> float:
        """How much more often than usual."""
        return (PRIOR_EVENTS + self.events) / (PRIOR_EVENTS + self.expected)

    def times(self, more: float) -> "Record":
        """One whose factor is so many times this one's, and that learns as fast."""
        expected = (PRIOR_EVENTS + self.expected) / more - PRIOR_EVENTS
        return Record(self.events, expected)


def level(factor: float) -> float:
    """The factor, rounded to the levels that programmes are solved for."""
    return float(_LEVELS ** round(np.log(factor) / np.log(_LEVELS)))


def expected_life_h(age_h: float, factor: float) -> float:
    """Mean hours until a machine of this age is taken, at so many times the usual rates."""
    return _mean_h(PREEMPTIONS_PER_H, age_h, factor)


def expected_outage_h(age_h: float, factor: float) -> float:
    """Mean hours until an outage of this age ends, at so many times the usual rates."""
    return _mean_h(RECOVERIES_PER_H, age_h, factor)


def expected_events(rates_per_h: np.ndarray, from_h: float, until_h: float) -> float:
    """How many events such rates make of one machine, or outage, between two ages of it."""
    total = 0.0
    # Plain numbers: thousands of machines are asked about, and each is too few for an array.
    for rate, begins_h, ends_h in zip(rates_per_h.tolist(), _BEGIN_H, _END_H, strict=True):
        if ends_h > from_h and begins_h < until_h:
            total += rate * (min(until_h, ends_h) - max(from_h, begins_h))
    return total


def _mean_h(rates_per_h: np.ndarray, age_h: float, factor: float) -> float:
    mean, lasts = 0.0, 1.0
    for number in range(age_class(age_h), len(AGES_H)):
        rate = rates_per_h[number] * factor
        last = number + 1 == len(AGES_H)
        span = np.inf if last else AGES_H[number + 1] - max(age_h, AGES_H[number])
        stays = 0.0 if last else np.exp(-rate * span)
        mean += lasts * (1 - stays) / rate
        lasts *= stays
    return float(mean)
