"""How a run will go on one machine: its duration as a distribution, interruptions included.

Work takes a log-normal time W around its median; a fixed time (set-up, evaluation) adds to it.
A spot machine is interrupted as a Poisson process; each interruption costs a restart and the
work since the last checkpoint, or half of the whole work where nothing is saved.
"""

import math
from functools import lru_cache

# Interruptions considered at most; where more are likely the offer is refused anyway.
MAX_INTERRUPTIONS = 40
_SQRT2 = math.sqrt(2)


@lru_cache
def normal_quantile(probability: float) -> float:
    """The value a standard normal variable does not exceed with `probability`, by bisection."""
    low, high = -12.0, 12.0
    for _ in range(60):
        middle = (low + high) / 2
        if 0.5 * (1 + math.erf(middle / _SQRT2)) < probability:
            low = middle
        else:
            high = middle
    return high


class Outcome:
    """Duration of a run, in seconds. `loss_s` is what one interruption costs.

    A plain class that works its means out at once: thousands are made in a plan.
    """

    __slots__ = (
        "expected_interruptions",
        "expected_s",
        "fixed_s",
        "interruptions_per_s",
        "loss_s",
        "sigma_log",
        "undisturbed_s",
        "work_mean_s",
        "work_median_s",
    )

    def __init__(
        self,
        work_median_s: float,
        sigma_log: float,
        fixed_s: float,
        interruptions_per_s: float = 0.0,
        loss_s: float = 0.0,
    ) -> None:
        self.work_median_s = work_median_s
        self.sigma_log = sigma_log
        self.fixed_s = fixed_s
        self.interruptions_per_s = interruptions_per_s
        self.loss_s = loss_s
        self.work_mean_s = work_median_s * math.exp(sigma_log**2 / 2)
        self.undisturbed_s = fixed_s + self.work_mean_s
        # Restarts can be interrupted again, so a share of the time is lost, not a number of times.
        lost_share = min(interruptions_per_s * loss_s, 0.95)
        self.expected_interruptions = interruptions_per_s * self.undisturbed_s / (1 - lost_share)
        self.expected_s = self.undisturbed_s + self.expected_interruptions * loss_s

    @property
    def sd_s(self) -> float:
        """Standard deviation of the duration: of the work, and of how often it is interrupted."""
        work_s = self.work_mean_s * math.sqrt(math.expm1(min(self.sigma_log**2, 50.0)))
        return math.hypot(work_s, self.loss_s * math.sqrt(self.expected_interruptions))

    def probability_within(self, limit_s: float) -> float:
        """Chance that the run is over within `limit_s`."""
        return self._summed_within(limit_s, 2.0)

    def reaches(self, limit_s: float, probability: float) -> bool:
        """Whether the run is over within `limit_s` with at least `probability`."""
        return self._summed_within(limit_s, probability) >= probability

    def _summed_within(self, limit_s: float, enough: float) -> float:
        """The chance to be over within `limit_s`, summed over interruptions until `enough`."""
        if not self.interruptions_per_s:
            return self._uninterrupted_within(limit_s)
        mean = self.expected_interruptions
        weight = math.exp(-mean)
        total = 0.0
        for count in range(MAX_INTERRUPTIONS):
            left = limit_s - count * self.loss_s
            if left <= self.fixed_s or total >= enough or (count > mean and weight < 1e-9):
                break
            total += weight * self._uninterrupted_within(left)
            weight *= mean / (count + 1)
        return total

    def mean_beyond_s(self, limit_s: float) -> float:
        """By how much the work takes longer than `limit_s` on average, undisturbed."""
        if self.sigma_log <= 0:
            return max(0.0, self.work_median_s - limit_s)
        score = math.log(limit_s / self.work_median_s) / self.sigma_log
        partly = self.work_mean_s * 0.5 * math.erfc((score - self.sigma_log) / _SQRT2)
        return partly - limit_s * 0.5 * math.erfc(score / _SQRT2)

    def quantile_s(self, probability: float) -> float:
        """Duration that is not exceeded with `probability`."""
        spread = math.exp(normal_quantile(probability) * self.sigma_log)
        if not self.interruptions_per_s:
            return self.fixed_s + self.work_median_s * spread
        # Interruptions only add: the undisturbed quantile is a floor.
        low = self.fixed_s + self.work_median_s * spread
        high = low + self.loss_s
        while self.probability_within(high) < probability and high < 1e12:
            low, high = high, high * 2
        # A hundredth of a percent is finer than anything known about interruptions.
        while high - low > 1e-4 * high:
            middle = (low + high) / 2
            if self.probability_within(middle) < probability:
                low = middle
            else:
                high = middle
        return high

    def _uninterrupted_within(self, limit_s: float) -> float:
        left = limit_s - self.fixed_s
        if left <= 1e-300:  # below that, the ratio to the median may underflow
            return 0.0
        if self.sigma_log <= 0:
            return 1.0 if left >= self.work_median_s else 0.0
        score = math.log(left / self.work_median_s) / self.sigma_log
        return 0.5 * (1 + math.erf(score / _SQRT2))
