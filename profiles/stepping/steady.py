"""When a stream of step times has settled, to what, how surely, and how long all will take."""

import math
from dataclasses import dataclass

import numpy as np

from mlbroker.profiles.arrays import Array
from mlbroker.profiles.prediction import Z90, Quantiles
from mlbroker.profiles.stepping.changepoint import weigh_pace_models
from mlbroker.profiles.stepping.forecast import RemainingSteps
from mlbroker.profiles.stepping.periods import Extras, Period, split
from mlbroker.profiles.stepping.stream import StepSeries

MIN_STEPS = 30
MIN_EVENTS = 4
# More events than this are joined before they are looked at.
MAX_EVENTS = 4096


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a window of steps says about the whole run.

    `step_time_s` is the mean over the whole run, periodic work included; `plain_step_s` is the
    pace of ordinary steps once settled. `half_width` is half the 95 % interval of the mean as it
    is now, relative; `sigma_log` is the spread of what the steps of the whole run take together.
    `start_up_s` is the time before the first step, `overhead_s` all time that does not grow with
    the steps. `drift` is the chance that the pace is changing.
    """

    steps_seen: int
    total_steps: int | None
    start_up_s: float
    warmup_steps: int
    warmup_extra_s: float
    plain_step_s: float
    step_time_s: float
    half_width: float
    sigma_log: float
    overhead_s: float
    periods: tuple[Period, ...]
    drift: float

    @property
    def total_s(self) -> Quantiles | None:
        """The whole run's duration, where the number of its steps is known."""
        if self.total_steps is None:
            return None
        work = self.total_steps * self.step_time_s
        spread = math.exp(Z90 * self.sigma_log)
        return Quantiles(*(self.overhead_s + w for w in (work / spread, work, work * spread)))


@dataclass(frozen=True, slots=True)
class _Part:
    """A share of the time to come: its mean, variance and third moment."""

    mean_s: float
    variance: float
    third: float = 0.0


def estimate(series: StepSeries) -> Estimate | None:
    """The estimate from what has been seen so far; None when that is less than a few steps."""
    if len(series.counts) < MIN_EVENTS:
        return None
    times, counts = _thinned(series)
    extras = split(times, counts)
    left = None if series.total is None else max(0, series.total - int(counts[-1]))
    # Without a known total, or at the end of it, the question is the pace over as much again.
    ahead = left or int(counts[-1] - counts[0])
    horizon = int(counts[-1]) + ahead
    block, beliefs = weigh_pace_models(extras.plain_s, counts, horizon if left else None)
    likeliest = max(beliefs, key=lambda belief: belief.weight)
    settled = int(block.first_step[likeliest.start])

    noise = float(np.var(block.step_s[likeliest.start :])) * block.size
    odd = _odd(extras, counts, settled, ahead)
    periodic = [_periodic(period, int(counts[-1]), horizon, ahead) for period in extras.periods]
    others = [odd, *periodic]
    spread = sum(part.variance for part in others)
    takes = RemainingSteps(
        ahead,
        sum(part.mean_s for part in others),
        spread + noise * ahead,
        sum(part.third for part in others),
    ).takes_s(beliefs)
    middle = takes.p50
    pace = middle / ahead
    elapsed = float(times[-1])
    plain = float(sum(b.weight * b.pace_s for b in beliefs))
    settled_at = float(np.interp(settled, counts, times))
    overhead = max(0.0, settled_at - settled * pace)
    if left is None:
        steps, step_time = float(counts[-1]), pace
    else:
        steps = float(counts[-1]) + left
        step_time = (elapsed + (middle if left else 0.0) - overhead) / steps
    work = step_time * steps
    from scipy import special

    # What was seen is certain: only what is ahead is spread.
    slow, fast = work + max(0.0, takes.p90 - middle), work - max(0.0, middle - takes.p10)
    sigma = math.log(slow / max(fast, 0.1 * work)) / (2 * Z90)
    mean_sd = math.sqrt(sum(b.weight * b.level_sd_s**2 for b in beliefs) + spread / ahead**2)
    return Estimate(
        steps_seen=series.steps,
        total_steps=series.total,
        start_up_s=float(times[0]),
        warmup_steps=settled - int(counts[0]),
        warmup_extra_s=max(0.0, settled_at - float(times[0]) - (settled - int(counts[0])) * pace),
        plain_step_s=plain,
        step_time_s=step_time,
        half_width=float(special.stdtrit(likeliest.freedom, 0.975)) * mean_sd / pace,
        sigma_log=sigma,
        overhead_s=overhead,
        periods=extras.periods,
        drift=sum((b.weight for b in beliefs if b.drift), 0.0),
    )


def _thinned(series: StepSeries) -> tuple[Array, Array]:
    times, counts = np.asarray(series.times_s, dtype=float), np.asarray(series.counts)
    stride = -(-len(times) // MAX_EVENTS)
    if stride > 1:
        # From the end, so that the last event stays.
        times, counts = times[::-1][::stride][::-1], counts[::-1][::stride][::-1]
    return times, counts


def _odd(extras: Extras, counts: Array, settled: int, ahead: int) -> _Part:
    """Extras without a rhythm go on as they came: a Poisson stream with the sizes seen."""
    sizes = extras.odd_s[counts[1:] > settled]
    steps = float(counts[-1] - settled)
    if steps <= 0 or not np.any(sizes):
        return _Part(0.0, 0.0)
    ratio = ahead / steps
    seen = int(np.count_nonzero(sizes))
    squares, cubes = float(np.sum(sizes**2)), float(np.sum(sizes**3))
    # What was seen is one draw, what is to come another; and few tell little of their spread.
    return _Part(
        float(np.sum(sizes)) * ratio,
        (squares * ratio**2 + squares * ratio) * (seen + 1) / seen,
        cubes * ratio**3,
    )


def _periodic(period: Period, done: int, horizon: int, ahead: int) -> _Part:
    times = period.remaining(done, horizon)
    return _Part(times * period.extra_s, (times * period.extra_sd_s) ** 2)
