"""How long spot machines live and outages last, by age, and what a zone's own past says of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Classes of age by their lower edges, in hours. A machine that lived long lives on, and an outage
# that lasted goes on: rates an hour, from recorded V100 availability of three zones.
AGES_H = np.array([0, 1 / 6, 0.5, 1.5, 4, 12])
PREEMPTIONS_PER_H = 1.5 * np.array([2, 1, 0.5, 0.22, 0.12, 0.05])
RECOVERIES_PER_H = np.array([2.5, 1.6, 0.8, 0.45, 0.3, 0.12])
# Whoever looks for the first time most likely sees what has been so for a while.
UNKNOWN_AGE_H = 2.0
# A zone is taken to be like the others until some eight events have told otherwise.
_PRIOR_EVENTS = 8.0
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
        return (_PRIOR_EVENTS + self.events) / (_PRIOR_EVENTS + self.expected)


def expected_events(rates_per_h: NDArray[np.float64], from_h: float, until_h: float) -> float:
    """How many are to be expected between two ages, at these rates by class of age."""
    upper = np.append(AGES_H[1:], np.inf)
    spans = np.clip(np.minimum(until_h, upper) - np.maximum(from_h, AGES_H), 0.0, None)
    return float(spans @ rates_per_h)


def level(factor: float) -> float:
    """The factor, rounded to the levels that programmes are solved for."""
    return float(_LEVELS ** round(np.log(factor) / np.log(_LEVELS)))


def expected_life_h(age_h: float, factor: float) -> float:
    """Mean hours until a machine of this age is taken, at so many times the usual rates."""
    life, survives = 0.0, 1.0
    for number in range(age_class(age_h), len(AGES_H)):
        rate = PREEMPTIONS_PER_H[number] * factor
        last = number + 1 == len(AGES_H)
        span = np.inf if last else AGES_H[number + 1] - max(age_h, AGES_H[number])
        stays = 0.0 if last else np.exp(-rate * span)
        life += survives * (1 - stays) / rate
        survives *= stays
    return float(life)
