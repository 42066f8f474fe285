"""Zones as the programme takes them to be, drawn for many histories at once.

A machine is there or not, for as long as a class of age says; where one is taken another zone's
may be there. All arrays have one entry for each history.
"""

import numpy as np
from numpy.typing import NDArray

from mlbroker.policies.spot.hazards import (
    AGES_H,
    PREEMPTIONS_PER_H,
    RECOVERIES_PER_H,
    UNKNOWN_AGE_H,
    age_class,
)
from mlbroker.policies.spot.programme import OTHER
from mlbroker.policies.spot.rates import Rates

Flags = NDArray[np.bool_]


class Sky:
    """At the beginning a machine is there, and could be for as long as one who looks first expects.

    `up` is whether one is there, `age` the class of `AGES_H` for how long that has been so.
    """

    def __init__(
        self, rates: Rates, step_h: float, random: np.random.Generator, histories: int
    ) -> None:
        self._random, self._spare = random, rates.spare
        self._leaves = 1 - np.exp(-PREEMPTIONS_PER_H * rates.preemption * step_h)
        self._comes = 1 - np.exp(-RECOVERIES_PER_H * rates.recovery * step_h)
        self._ages = 1 - np.exp(-step_h / np.diff(AGES_H, append=np.inf))
        self.up: Flags = np.ones(histories, bool)
        self.age = np.full(histories, age_class(UNKNOWN_AGE_H))

    def pass_step(self) -> Flags:
        """Machines are taken, outages end, and both grow older; where a machine was taken.

        What is `up` all the same is then another zone's.
        """
        chance, other, older = self._random.random((3, len(self.up)))
        up, age = self.up, self.age
        changes = chance < np.where(up, self._leaves[age], self._comes[age])
        taken: Flags = up & changes
        comes = ~up & changes
        spared = taken & (other < self._spare)
        grows = ~changes & (older < self._ages[age])
        self.age = np.where(changes, np.where(spared, OTHER, 0), age + grows)
        self.age = np.minimum(self.age, len(AGES_H) - 1)
        self.up = np.where(comes | spared, True, up & ~taken)
        return taken
