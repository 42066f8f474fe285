"""The gradient noise scale: how far a larger batch still helps, and how that grows in training.

| symbol | here | unit |
| --- | --- | --- |
| φ | `noise` | samples: the batch at which noise and gradient weigh the same |
| B₀, B | `default_batch`, `batch` | samples, over all GPUs and accumulated steps |
| f | `done` | share of the work that is done, 0 to 1 |
| x | `doublings` | log₂(B / B₀) |

Formulas: Qiao et al., "Pollux: Co-adaptive Cluster Scheduling for Goodput-Optimized Deep
Learning", OSDI 2021, section 3; AdaScale's gain: Johnson et al., ICML 2020; φ itself: McCandlish
et al., "An Empirical Model of Large-Batch Training", 2018.

Imports numpy: import it inside functions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlbroker.profiles.arrays import Array
from mlbroker.profiles.batch import LrRule

# Where there is no past: φ grows some tenfold in training (McCandlish et al., figure 4), from a few
# default batches. A guess within a factor of seven or so (standard deviation of its logarithm).
_GUESS_FIRST, _GUESS_LAST, GUESS_SIGMA = 5.0, 50.0, 2.0
# A past of n jobs counts n, the guess of how jobs differ counts so many.
_GUESS_COUNTS = 2.0
# How far a measured φ is off, and how far it drifts from the past's course over a whole training.
_MEASURED_SIGMA, _DRIFT_SIGMA = 0.3, 1.0
# Both together where φ counts as it was measured, for all of a training: on average half the drift.
RUN_SIGMA = math.hypot(_MEASURED_SIGMA, _DRIFT_SIGMA / 2)


def efficiency(noise: Array | float, default_batch: float, batch: Array | float) -> Array:
    """E(B) = (φ + B₀) / (φ + B): progress of a sample, as a share of that at the default batch."""
    return np.asarray((noise + np.asarray(default_batch)) / (noise + np.asarray(batch)))


def gain(noise: Array | float, default_batch: float, batch: Array | float) -> Array:
    """(φ + B₀) / (φ·B₀/B + B₀): steps at the default batch that one step at B is worth."""
    shrunk = np.asarray(noise) * default_batch / np.asarray(batch)
    return np.asarray((np.asarray(noise) + default_batch) / (shrunk + default_batch))


def lr_scale(noise: float, default_batch: float, batch: float, rule: LrRule) -> float:
    """The factor on the learning rate that fits the default batch."""
    if rule is LrRule.NONE:
        return 1.0
    if rule is LrRule.LINEAR:
        return batch / default_batch
    steps = float(gain(noise, default_batch, batch))
    return steps if rule is LrRule.ADASCALE else math.sqrt(steps)


@dataclass(frozen=True, slots=True)
class PastNoise:
    """φ of one past job in default batches: natural logarithms, of shape (doublings, done)."""

    done: Array
    doublings: Array
    log_noise: Array

    def at(self, done: Array, doublings: Array) -> Array:
        """Shape (doublings, done); beyond what was seen, the last that was."""
        rows = np.stack([np.interp(done, self.done, row) for row in self.log_noise])
        columns = [np.interp(doublings, self.doublings, column) for column in rows.T]
        return np.stack(columns, axis=1)


@dataclass(frozen=True, slots=True)
class Seen:
    """φ in default batches, measured over the work up to `done` at a batch."""

    done: float
    doublings: float
    noise: float


class NoiseForecast:
    """φ for the rest of a job, in default batches, from past jobs and what was seen of this one."""

    def __init__(self, past: Sequence[PastNoise], seen: Seen | None) -> None:
        self._past = past
        self._seen = seen

    def log_noise(self, done: Array, doublings: Array) -> tuple[Array, Array]:
        """Mean of shape (doublings, done), and standard deviation of shape (done,).

        log φ(f) = hist(f) + w·(log φ_now - hist(f_now)), w = min(1, .5 + 2·f_now): the sooner it
        was seen, the more the past counts. `hist` is taken at the batch asked for: φ as it is
        measured grows with the batch.
        """
        mean, sigma = self._history(done, doublings)
        if self._seen is None:
            return mean, sigma
        now, at = np.array([self._seen.done]), np.array([self._seen.doublings])
        before, _ = self._history(now, at)
        weight = min(1.0, 0.5 + 2 * self._seen.done)
        mean = mean + weight * (math.log(self._seen.noise) - before[0, 0])
        drift = _DRIFT_SIGMA * np.maximum(done - self._seen.done, 0.0)
        left = ((1 - weight) * sigma) ** 2 + _MEASURED_SIGMA**2 + drift**2
        return mean, np.minimum(np.sqrt(left), sigma)

    def _history(self, done: Array, doublings: Array) -> tuple[Array, Array]:
        if not self._past:
            course = np.log(_GUESS_FIRST) + np.log(_GUESS_LAST / _GUESS_FIRST) * done
            flat = np.broadcast_to(course, (len(doublings), len(done)))
            return flat, np.full(len(done), GUESS_SIGMA)
        each = np.stack([job.at(done, doublings) for job in self._past])
        mean = each.mean(0)
        apart = ((each - mean) ** 2).sum(0).mean(0)
        count = _GUESS_COUNTS + len(self._past)
        variance = (_GUESS_COUNTS * GUESS_SIGMA**2 + apart) / count
        return mean, np.sqrt(variance)
