"""What is left of a job on each candidate: draws of its time, from all that is believed.

Shapes: (draws, candidates). Imports numpy: import it inside functions.
"""

import math
from collections.abc import Sequence

import numpy as np

from mlbroker.policies.adapt.interface import Machines, View
from mlbroker.profiles.arrays import Array
from mlbroker.profiles.goodput import steps_for
from mlbroker.profiles.noise import NoiseForecast, Seen
from mlbroker.profiles.step_model import Space, StepModel

DRAWS = 256
# The rest of the work is summed up in so many parts.
_PARTS = 16


def step_model(view: View) -> StepModel:
    """The belief about step times, after all that was measured."""
    terms = view.terms
    layouts = tuple(sorted({one.layout for one in terms.machines}))
    model = StepModel(
        Space(layouts, reference_batch(terms.machines), terms.log_speed), view.past.steps
    )
    return model.fit(view.measured) if view.measured else model


def reference_batch(machines: Sequence[Machines]) -> float:
    """The geometric middle of the local batches that fit."""
    least = min(one.least_local for one in machines)
    most = max(one.most_local for one in machines)
    return math.sqrt(least * most)


class Forecast:
    """Step times and steps left, in draws; what moving there takes is not in them."""

    def __init__(self, view: View, seed: int) -> None:
        terms = view.terms
        steps = [terms.step(number) for number in range(len(terms.candidates))]
        model = step_model(view)
        normals = _normals(model.size + 1, seed)
        self.log_step_s = model.log_times(steps, normals[:, 1:])
        self.steps_left = _steps_left(view, normals[:, 0])

    @property
    def left_s(self) -> Array:
        """Seconds of work left."""
        return np.asarray(np.exp(self.log_step_s) * self.steps_left)


def _normals(size: int, seed: int) -> Array:
    """Standard normals that fill the space evenly: a few draws do for sums over all of it."""
    from scipy.special import ndtri
    from scipy.stats.qmc import Sobol

    return np.asarray(ndtri(Sobol(size, seed=seed).random(DRAWS).clip(1e-9, 1 - 1e-9)))


def _steps_left(view: View, normals: Array) -> Array:
    terms = view.terms
    steps = np.array(terms.default_steps)
    middle = (np.cumsum(steps) - steps / 2) / steps.sum()
    parts = np.array_split(np.arange(view.epoch, len(steps)), min(_PARTS, len(steps) - view.epoch))
    done = np.array([float(middle[part].mean()) for part in parts])
    work = np.array([float(steps[part].sum()) for part in parts])
    each = np.array([one.batch for one in terms.candidates])
    batches, back = np.unique(each, return_inverse=True)
    seen = None
    if view.noise:
        last = view.noise[-1]
        doublings = math.log2(last.batch / terms.default_batch)
        seen = Seen(float(middle[last.epoch]), doublings, last.noise / terms.default_batch)
    forecast = NoiseForecast(view.past.noise, seen)
    mean, sigma = forecast.log_noise(done, np.log2(batches / terms.default_batch))
    noise = np.exp(mean[None] + normals[:, None, None] * sigma)  # in default batches
    needed = steps_for(work, noise, 1.0, (batches / terms.default_batch)[:, None])
    return np.asarray(needed.sum(2)[:, back])
