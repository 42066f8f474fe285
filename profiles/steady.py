"""When a stream of step times has settled, to what, how surely, and how long all will take."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mlbroker.profiles.prediction import Z90, Quantiles
from mlbroker.profiles.track import Track

MIN_STEPS = 30
BATCHES = 16


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a window of steps says about the whole run."""

    steps_seen: int
    warmup_steps: int
    step_time_s: float
    half_width: float
    sigma_log: float
    overhead_s: float
    total_steps: int | None

    @property
    def total_s(self) -> Quantiles | None:
        """The whole run's duration, where the number of its steps is known."""
        if self.total_steps is None:
            return None
        work = self.total_steps * self.step_time_s
        spread = math.exp(Z90 * self.sigma_log)
        return Quantiles(*(self.overhead_s + w for w in (work / spread, work, work * spread)))


def estimate(track: Track) -> Estimate | None:
    """The estimate from what has been seen so far; None when that is less than a few steps."""
    if len(track.counts) < 4:
        return None
    times = np.asarray(track.times_s)
    counts = np.asarray(track.counts, dtype=float)
    first = _truncation(np.diff(times) / np.diff(counts))
    times, counts = times[first:], counts[first:]
    mean = float((times[-1] - times[0]) / (counts[-1] - counts[0]))
    error = _standard_error(times, counts)
    return Estimate(
        steps_seen=track.steps,
        warmup_steps=int(counts[0]),
        step_time_s=mean,
        half_width=1.96 * error / mean,
        sigma_log=error / mean,
        overhead_s=max(0.0, float(times[0] - counts[0] * mean)),
        total_steps=track.total,
    )


def _truncation(durations: Sequence[float] | np.ndarray) -> int:
    """Where the warm-up ends: the cut that minimises the standard error of the rest (MSER)."""
    values = np.minimum(durations, np.quantile(durations, 0.95))
    best, cut = math.inf, 0
    for k in range(0, len(values) // 2, max(1, len(values) // 200)):
        rest = values[k:]
        score = float(np.var(rest)) / len(rest)
        if score < best:
            best, cut = score, k
    return cut


def _standard_error(times: np.ndarray, counts: np.ndarray) -> float:
    """Of the mean step time, by batch means."""
    edges = np.linspace(0, len(times) - 1, min(BATCHES, len(times) - 1) + 1).astype(int)
    means = np.diff(times[edges]) / np.diff(counts[edges])
    scale = float(stats.t.ppf(0.975, len(means) - 1)) / 1.96
    return scale * float(np.std(means, ddof=1)) / math.sqrt(len(means))
