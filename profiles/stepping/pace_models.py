"""The answers to how fast the steps to come will be: a settled level, a drift, a fading warm-up."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mlbroker.profiles.arrays import Array

# Before any evidence: how often a job's pace drifts, and by how much over the whole run (sd).
DRIFT_ODDS = 0.3
DRIFT_SD = 0.22
# Few drifts go on for ever as they began: by this share of what they will change (sd).
GOES_ON = 0.5
# A warm-up that fades to the end of the window: so often, so high.
FADE_ODDS = 0.1
FADE_SD = 1.0
# No trend ends below this share of the pace seen.
LEAST_PACE = 0.2
# Fewer values than this have no correlation to speak of; from few, a stronger one is not told.
MIN_CORRELATED = 6
MOST_CORRELATION = 0.75


@dataclass(frozen=True, slots=True)
class PaceBelief:
    """A possible answer: settled from block `start` on, with this pace over the steps to come.

    `sd_s` is the uncertainty of that, `level_sd_s` the one of the pace as it is now. `trend` is
    how many of its standard errors a drift's slope has. `correlation` is that of neighbouring
    blocks around this answer, `freedom` what is left of their number when that is allowed for.
    """

    start: int
    pace_s: float
    sd_s: float
    level_sd_s: float
    freedom: int
    correlation: float
    trend: float | None = None
    weight: float = 0.0

    @property
    def drift(self) -> bool:
        """Whether this is a pace that goes on changing."""
        return self.trend is not None


class PaceWindow(NamedTuple):
    """Blocks from `start` on (B - start,), around which steps, how noisy, and what lies ahead."""

    start: int
    step_s: Array
    centre: Array
    noise: float
    done: float
    total: float


class Fade(NamedTuple):
    """The shape of a warm-up: by 1/e, or to its half and then ever slower, every `share`."""

    share: float
    exponential: bool

    def above(self, steps: Array, length: float) -> Array:
        """What is left of it so many steps after its start; as `steps` is shaped."""
        x = steps / (self.share * length)
        return np.exp(-x) if self.exponential else 1 / (1 + x)

    def mean_above(self, begin: float, end: float, length: float) -> float:
        """What is left of it on average between these steps."""
        scale = self.share * length
        if self.exponential:
            area = math.exp(-begin / scale) - math.exp(-end / scale)
        else:
            area = math.log((scale + end) / (scale + begin))
        return scale * area / (end - begin)


FADES = (
    *(Fade(share, True) for share in (0.1, 0.2, 0.4)),
    *(Fade(share, False) for share in (0.02, 0.06, 0.2)),
)


def level(step_s: Array, start: int) -> PaceBelief:
    """It goes on as it was on average."""
    n = len(step_s)
    mean = float(step_s.mean())
    variance = float(np.var(step_s, ddof=1)) if n > 1 else mean**2
    correlation = lag_one(step_s)
    each = inflation(correlation)
    sd = math.sqrt(variance / n * each)
    return PaceBelief(start, mean, sd, sd, max(1, int(n / each) - 1), correlation)


def drift(seen: PaceWindow, level_score: float) -> tuple[float, PaceBelief]:
    """It changes by as much every step, which what drifts usually are shrinks towards none."""
    y, n = seen.step_s, len(seen.step_s)
    mean, middle = float(y.mean()), float(seen.centre.mean())
    x = seen.centre - middle
    moment = float(np.sum(x**2))
    slope = float(np.sum(x * (y - mean))) / moment
    left = y - mean - slope * x
    prior = (DRIFT_SD * mean / seen.total) ** 2
    sampling = seen.noise**2 / moment
    evidence = 0.5 * slope**2 / sampling * prior / (prior + sampling)
    score = level_score + math.log(DRIFT_ODDS) + evidence - 0.5 * math.log1p(prior / sampling)

    correlation = lag_one(left)
    each = inflation(correlation)
    sd = max(seen.noise, math.sqrt(each * float(np.sum(left**2)) / max(1, n - 2)))
    variance = sd**2 / moment
    ahead = (seen.done + seen.total) / 2 - middle
    change = slope * prior / (prior + variance) * ahead
    of_slope = prior * variance / (prior + variance) * ahead**2
    return score, PaceBelief(
        seen.start,
        max(mean + change, LEAST_PACE * mean),
        math.sqrt(sd**2 / n + of_slope + (GOES_ON * change) ** 2),
        sd / math.sqrt(n),
        max(1, int(n / each) - 2),
        correlation,
        abs(slope) / math.sqrt(variance),
    )


def fade(seen: PaceWindow, shape: Fade, score_before: float) -> tuple[float, PaceBelief] | None:
    """A level and what is still above it; None if it does not fall."""
    y, n = seen.step_s, len(seen.step_s)
    began = seen.centre[0]
    length = float(seen.centre[-1] - began)
    above = shape.above(seen.centre - began, length)
    mean = float(y.mean())
    design = np.column_stack([np.ones_like(above), above])
    # The height is somewhere around the pace itself; the level is free.
    precision = design.T @ design / seen.noise**2 + np.diag([0.0, 1 / (FADE_SD * mean) ** 2])
    covariance = np.linalg.inv(precision)
    fit = covariance @ (design.T @ y) / seen.noise**2
    if fit[1] <= 0:
        return None
    left = y - design @ fit
    misfit = float(np.sum(left**2))
    occam = math.log(FADE_SD * mean / math.sqrt(covariance[1, 1]))
    score = score_before - 0.5 * misfit / seen.noise**2 - occam + math.log(FADE_ODDS)
    of_each = np.array([1.0, shape.mean_above(seen.done - began, seen.total - began, length)])
    worse = max(1.0, misfit / max(1, n - 2) / seen.noise**2)
    sd = math.sqrt(float(of_each @ covariance @ of_each) * worse)
    pace = max(float(of_each @ fit), LEAST_PACE * mean)
    return score, PaceBelief(seen.start, pace, sd, sd, max(1, n - 2), lag_one(left))


def lag_one(values: Array) -> float:
    """Correlation of neighbours, corrected for the bias of short series."""
    n = len(values)
    if n < MIN_CORRELATED:
        return 0.0
    centred = values - values.mean()
    power = float(np.sum(centred**2))
    if power == 0:
        return 0.0
    r = float(np.sum(centred[1:] * centred[:-1])) / power
    return r + (1 + 3 * r) / n


def inflation(correlation: float) -> float:
    """By how much the variance of a mean is greater when neighbours are alike."""
    r = min(MOST_CORRELATION, max(0.0, correlation))
    return (1 + r) / (1 - r)
