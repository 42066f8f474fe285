"""How long the steps to come take, over all beliefs about their pace and what comes on top."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlbroker.profiles.prediction import Z90, Quantiles
from mlbroker.profiles.stepping.pace_models import PaceBelief

# No clock is better than this share of what it measures.
LEAST_SD = 1e-6
# A slope of so many of its standard errors is seen, if nothing else explains it far better. Noise
# alone shows as much in half of all steady jobs: what that widens for nothing is less than what a
# drift costs that a short window hides.
SEEN_TREND = 0.67
LEAST_TREND = 0.01


@dataclass(frozen=True, slots=True)
class RemainingSteps:
    """So many steps, and beside their pace: mean, variance and third moment of all the rest."""

    steps: int
    mean_s: float
    variance: float
    third: float

    def takes_s(self, beliefs: Sequence[PaceBelief]) -> Quantiles:
        """With the 80 % interval that the test for a trend leaves.

        How often jobs drift decides the median, but must not decide the interval: a job that
        drifts would be outside of it as long as drifts are rare. So an unseen trend is left out
        of it, and one that is seen reaches as far as if it were certain, on both sides alike.
        """
        whole = self._quantiles(beliefs)
        trends = [belief for belief in beliefs if belief.drift]
        share = sum(belief.weight for belief in trends)
        if not LEAST_TREND < share < 1:
            return whole
        seen = (max(trends, key=lambda belief: belief.weight).trend or 0.0) >= SEEN_TREND
        part = self._quantiles([belief for belief in beliefs if belief.drift is seen])
        middle = whole.p50
        if not seen:
            return Quantiles(min(part.p10, middle), middle, max(part.p90, middle))
        reach = max(middle - part.p10, part.p90 - middle)
        return Quantiles(min(whole.p10, middle - reach), middle, max(whole.p90, middle + reach))

    def _quantiles(self, beliefs: Sequence[PaceBelief]) -> Quantiles:
        share = sum(belief.weight for belief in beliefs)
        alone = [replace(belief, weight=belief.weight / share) for belief in beliefs]
        return Quantiles(*(self._quantile(q, alone) for q in (0.1, 0.5, 0.9)))

    def _quantile(self, q: float, beliefs: Sequence[PaceBelief]) -> float:
        """Skewed as the extras are (Cornish and Fisher)."""
        from scipy import special

        weights = np.array([b.weight for b in beliefs])
        means = np.array([b.pace_s for b in beliefs]) * self.steps + self.mean_s
        of_pace = np.array([b.sd_s * _heavy(b) for b in beliefs]) * self.steps
        sds = np.sqrt(of_pace**2 + self.variance) + LEAST_SD * means

        def share_below(x: float) -> float:
            return float(weights @ special.ndtr((x - means) / sds))

        reach = 12 * float(sds.max())
        x = _root(
            lambda x: share_below(x) - q, float(means.min()) - reach, float(means.max()) + reach
        )
        sd = math.sqrt(float(weights @ sds**2))
        if self.third <= 0 or sd == 0:
            return x
        z = float(special.ndtri(q))
        skewness = min(self.third / sd**3, 2.0)
        return x + sd * skewness * (2 * z * z + 1) / 6


def _heavy(belief: PaceBelief) -> float:
    """How much wider than normal the tails are when the spread itself is known from few blocks."""
    from scipy import special

    return float(special.stdtrit(belief.freedom, 0.9)) / Z90


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    for _ in range(60):
        middle = (low + high) / 2
        if function(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
