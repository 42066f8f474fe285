"""Goodput: training throughput times what a sample of that batch is worth (Pollux, OSDI 2021).

Imports numpy: import it inside functions.
"""

import numpy as np

from mlbroker.profiles.arrays import Array
from mlbroker.profiles.noise import efficiency, gain


def goodput(
    noise: Array | float, default_batch: float, batch: Array | float, step_time_s: Array | float
) -> Array:
    """B·E(B)/T: samples a second, each worth as much as one at the default batch."""
    worth = np.asarray(batch) * efficiency(noise, default_batch, batch)
    return np.asarray(worth / np.asarray(step_time_s))


def steps_for(
    default_steps: Array | float, noise: Array | float, default_batch: float, batch: Array | float
) -> Array:
    """Optimizer steps at B that get as far as so many at the default batch."""
    return np.asarray(np.asarray(default_steps) / gain(noise, default_batch, batch))
