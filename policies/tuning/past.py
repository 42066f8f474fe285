"""A study that begins with what earlier studies of the same configurations found.

Model: the new task is like one of the past ones, up to noise, and nobody knows which. Each past
task gives each configuration a normal score z, of its rank by best score. A configuration is
worth its expected improvement on the best that was asked for, in the weighted mean over the
tasks, over what a step of it costs: a portfolio, which spreads where the past disagrees. The
weights begin equal. Whenever two trials of this study are seen at the same step, a past task that
orders them alike there is borne out: its weight is (1 - m)/m to the power of the share of such
pairs, times trials less one, where one pair in five misleads, m.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from mlbroker.policies.tuning.interface import Searcher
from mlbroker.policies.tuning.replay import Curves
from mlbroker.profiles.arrays import Array

# Standard deviation of a normal score from one task to another that it is like.
NOISE = 0.5
MISLEADS = 0.2
# From so many on every third is the cold searcher's, in case the past misleads.
PAST_ALONE = 8
COLD_EVERY = 3


class PastFirst:
    """Configurations by what past tasks say of them; later some of the cold searcher's, too.

    Shapes: T past tasks, C configurations. `left` are the configurations that nobody has tried;
    `cold` takes its own from it.
    """

    def __init__(
        self, configs: Sequence[str], past: Sequence[Curves], cold: Searcher[int], left: set[int]
    ) -> None:
        self._cold, self._left = cold, left
        tables = [_aligned(configs, curves) for curves in past]
        self._best = [best for best, _ in tables]  # T times (C, steps), nan: not in that task
        self._z = np.array([_normal_scores(best[:, -1]) for best in self._best])  # (T, C)
        self._cost = np.mean([cost for _, cost in tables], axis=0)  # (C,)
        self._asked: list[int] = []
        self._seen: dict[int, dict[int, float]] = {}  # by step, by configuration
        self._agreed, self._compared = np.zeros(len(past)), np.zeros(len(past))

    def ask(self) -> int | None:
        """The best untried configuration."""
        turn = len(self._asked)
        cold = turn >= PAST_ALONE and turn % COLD_EVERY == COLD_EVERY - 1
        point = self._cold.ask() if cold else None
        if point is None:
            point = self._worthiest()
        if point is not None:
            self._asked.append(point)
        return point

    def tell(self, point: int, best: Sequence[float]) -> None:
        """It weighs the past tasks, and the cold searcher learns as well."""
        self._cold.tell(point, best)
        for step, score in enumerate(best, 1):
            if point not in self._seen.setdefault(step, {}):
                self._compare(point, step, score)

    def _compare(self, point: int, step: int, score: float) -> None:
        """With all trials that were seen at this step, as each past task has them there."""
        seen = self._seen[step]
        others = [other for other, known in seen.items() if known != score]
        ahead = np.array([score > seen[other] for other in others])
        seen[point] = score
        if not others:
            return
        for task, known_best in enumerate(self._best):
            at = min(step, known_best.shape[1]) - 1
            mine, theirs = known_best[point, at], known_best[others, at]
            known = ~np.isnan(theirs) & ~np.isnan(mine) & (mine != theirs)
            self._agreed[task] += ((mine > theirs) == ahead)[known].sum()
            self._compared[task] += known.sum()

    def _worthiest(self) -> int | None:
        if not self._left:
            return None
        least = self._z.min(axis=1)
        before = self._z[:, self._asked].max(axis=1) if self._asked else least
        gain = self._weights() @ _expected_excess(self._z - before[:, None])
        left = np.array(sorted(self._left))
        worthiest = int(left[(gain / self._cost)[left].argmax()])
        self._left.discard(worthiest)
        return worthiest

    def _weights(self) -> Array:
        """Of the past tasks; they sum to one. What was never compared is as good as a coin."""
        share = (self._agreed + 1) / (self._compared + 2)
        trials = max(len(self._asked) - 1, 0)
        weights = np.exp(trials * math.log((1 - MISLEADS) / MISLEADS) * (share - share.max()))
        return np.asarray(weights / weights.sum(), dtype=float)


def _aligned(configs: Sequence[str], curves: Curves) -> tuple[Array, Array]:
    """Best scores in the order of `configs`, and a step's time over the task's mean."""
    places = {name: at for at, name in enumerate(curves.configs)}
    best = np.full((len(configs), curves.most), np.nan)
    cost = np.ones(len(configs))
    mean_s = curves.whole_s() / curves.most
    for at, name in enumerate(configs):
        if name in places:
            best[at] = curves.scores[places[name]]
            cost[at] = curves.step_s[places[name]] / mean_s
    return np.maximum.accumulate(best, axis=1), cost


def _normal_scores(values: Array) -> Array:
    """Quantiles of the normal distribution at the ranks; zero, the middle, for what is unknown."""
    scores = np.zeros(len(values))
    known = np.flatnonzero(~np.isnan(values))
    _, first, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - counts / 2)[first]  # ties share the middle of theirs
    normal = NormalDist()
    scores[known] = [normal.inv_cdf(rank / len(known)) for rank in ranks.tolist()]
    return scores


def _expected_excess(lead: Array) -> Array:
    """E[max(lead + noise, 0)], the expected improvement of a normal belief."""
    from scipy.special import ndtr

    scaled = lead / NOISE
    density = np.exp(-scaled * scaled / 2) / math.sqrt(2 * math.pi)
    return np.asarray(NOISE * (scaled * ndtr(scaled) + density), dtype=float)
