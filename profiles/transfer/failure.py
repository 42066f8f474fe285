"""How likely a job is to fail on a machine, after it failed or worked on others."""

from collections.abc import Sequence

import numpy as np

from mlbroker.profiles.arrays import Array
from mlbroker.profiles.transfer.history import Prior

# How far one outcome reaches, in standard deviations of a feature.
REACH = 0.5
# A difference in the harmless direction counts this much of one in the other.
HARMLESS = 0.25


def chance(prior: Prior, failed: Sequence[int], worked: Sequence[int]) -> Array:
    """Chance (C,) of each candidate to fail: history's share, and outcomes on machines like it.

    What fails does so on anything smaller too, and what works does so on anything larger: an
    outcome counts in full in that direction, and fades in the other.
    """
    x = prior.space.x
    if len(prior.space.capacity):
        x = x[:, prior.space.capacity]
    against = _weight(x, failed, +1)
    found = (prior.failure + against) / (1 + against + _weight(x, worked, -1))
    found[list(worked)] = 0.0
    found[list(failed)] = 1.0
    return np.asarray(found)


def _weight(x: Array, outcomes: Sequence[int], harmful: int) -> Array:
    if not outcomes:
        return np.zeros(len(x))
    gap = x[:, None] - x[list(outcomes)][None]
    far = np.maximum(harmful * gap, 0).sum(2) + HARMLESS * np.abs(gap).sum(2)
    far /= max(x.shape[1], 1)
    return np.asarray(np.exp(-((far / REACH) ** 2) / 2).sum(1))
