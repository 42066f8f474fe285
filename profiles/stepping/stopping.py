"""When a measurement has seen enough."""

from dataclasses import dataclass

from mlbroker.profiles.stepping.steady import MIN_STEPS, Estimate
from mlbroker.profiles.stepping.stream import StepSeries

# A job that tells only every tenth step needs so many tellings to be understood.
MIN_TELLINGS = 6
# An epoch's end that is so near, as a share of the steps seen anyway, is waited for.
WITHIN_REACH = 1.5


@dataclass(frozen=True, slots=True)
class StopRule:
    """Stop when the 95 % interval of the mean is within `half_width` and periodic work had its
    chance to show: a `share` of the work was seen, or `patience_s` of steps. `share` is also the
    most that is ever run, `max_steps` overrules it. A step that surely takes longer than
    `hopeless_step_s` ends it at once: what would be learnt is not worth its price.
    `epoch_steps` is how many steps an epoch has, if that is known.
    """

    half_width: float = 0.03
    share: float = 0.1
    patience_s: float = 60.0
    max_steps: int | None = None
    hopeless_step_s: float | None = None
    epoch_steps: int | None = None

    def reached(self, series: StepSeries, estimate: Estimate | None) -> str | None:
        """Why to stop now, in words; None to go on."""
        if self.used_up(series):
            return f"{series.steps} steps were seen"
        if estimate is None or estimate.steps_seen - estimate.warmup_steps < MIN_STEPS:
            return None
        least = estimate.step_time_s * (1 - estimate.half_width)
        if self.hopeless_step_s is not None and least > self.hopeless_step_s:
            return f"a step takes more than {least:,.3f} s: too slow to be worth more"
        stepping_s = series.times_s[-1] - series.times_s[0]
        if estimate.half_width <= self.half_width and stepping_s >= self.patience_s:
            return f"the mean is known to ±{estimate.half_width:.1%}"
        return None

    def used_up(self, series: StepSeries) -> bool:
        """Whether all steps were made that a measurement may take."""
        limit = self.max_steps
        if limit is None and series.total is not None:
            limit = max(MIN_STEPS, round(self.share * series.total))
            if self.epoch_steps and limit <= self.epoch_steps <= WITHIN_REACH * limit:
                limit = self.epoch_steps + 1
        told = self.max_steps is not None or len(series.counts) >= MIN_TELLINGS
        return limit is not None and series.steps >= limit and told
