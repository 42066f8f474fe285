"""What is known of one job: its log times after some were measured, and where it may fail."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from mlbroker.profiles.arrays import Array
from mlbroker.profiles.transfer.history import NOISE, Prior
from mlbroker.profiles.transfer.kernel import Hyper, covariance, variance

# Variance of the job's scale once something is measured: it may be seconds or weeks.
ANY_SCALE = 25.0
# Before that, the guess of it is good to a factor of four.
GUESSED_SCALE = 2.0
# The honesty of intervals: how far off the predictions were so far widens or narrows all of them.
# It starts as if DEGREES predictions had been off by as much as they said.
DEGREES = 3.0
# Decisions are better for being sceptical at first; what is reported starts from what held. With
# too few past jobs it stays sceptical: specifications and closed forms are often far off.
REPORTED, REPORTED_ALONE = 0.7, 1.0
# A single outlier must not make all intervals useless.
LARGEST_SURPRISE = 25.0
# Nor must it decide alone which past job this one is like: degrees of freedom of that judgement.
LIKENESS_DEGREES = 8.0
# What is hardly possible is dropped, and with a long history all but so many of the likeliest.
LEAST_WEIGHT, MAX_CASES = 1e-3, 32
# How far one outcome reaches, in standard deviations of a feature.
REACH = 0.5
# A difference in the harmless direction counts this much of one in the other.
HARMLESS = 0.25


class _Posterior(NamedTuple):
    """What the measurements so far say; `raw` (C,) is the variance before honesty stretches it."""

    cases: Array
    weights: Array
    means: Array
    raw: Array
    within: Array
    mean: Array
    between: Array


class Belief:
    """Posterior over the candidates of `prior`; grows by `observe`, `fail` and `hint`.

    All is of log time. The job is one of the cases of `prior`, with these `weights` (H,); `means`
    (H, C) has a row for each case, and `within` (C,) is the variance in any of them. `mean` and
    `variance` (C,) are over all cases. The predictive distribution of a case is Student's t with
    `degrees` degrees of freedom: heavy-tailed until predictions have proved themselves.
    `log_scale`, of all or of each case (H, 1), is the scale that is guessed at first.
    """

    def __init__(self, prior: Prior, hyper: Hyper, log_scale: float | Array = 0.0) -> None:
        self.prior = prior
        self.hyper = hyper
        self.measured: list[int] = []
        self.failed: list[int] = []
        self._base = prior.mean + prior.offsets + log_scale
        self._own = variance(prior.space, hyper) + hyper.own
        self._own = self._own + hyper.history * (prior.factors**2).sum(0)
        self._seen: list[int] = []
        self._values: list[float] = []
        self._noise: list[float] = []
        self._columns = np.zeros((0, len(prior.mean)))
        self._surprises: list[float] = []
        # Worked out when it is asked for: what was measured comes in one by one.
        self._known: _Posterior | None = None

    @property
    def cases(self) -> Array:
        """Places (H,) in the prior of the cases that are left."""
        return self._posterior.cases

    @property
    def weights(self) -> Array:
        """Chances (H,) of the cases that are left."""
        return self._posterior.weights

    @property
    def means(self) -> Array:
        """Log times (H, C) in each case."""
        return self._posterior.means

    @property
    def within(self) -> Array:
        """Variance (C,) in any case."""
        return self._posterior.within

    @property
    def mean(self) -> Array:
        """Log times (C,) over all cases."""
        return self._posterior.mean

    @property
    def variance(self) -> Array:
        """Variance (C,) over all cases."""
        return self._posterior.within + self._posterior.between

    @property
    def scaled(self) -> bool:
        """Whether anything is known of the job's scale; if not, only ratios mean something."""
        return bool(self._seen)

    @property
    def degrees(self) -> float:
        """Degrees of freedom of the predictive distribution."""
        return DEGREES + len(self._surprises)

    @property
    def reported(self) -> Array:
        """Variance (C,) of log time for people: its 80 % intervals hold in 80 % of cases."""
        told = self.prior.jobs and not self.prior.first
        start = DEGREES * (REPORTED if told else REPORTED_ALONE)
        stretch = (start + sum(self._surprises)) / self.degrees
        return np.asarray(self._posterior.raw * stretch + self._posterior.between)

    @property
    def failure(self) -> Array:
        """Chance (C,) of each candidate to fail."""
        return _chance_to_fail(self.prior, self.failed, self.measured)

    def hint(self, candidate: int, log_time: float, variance: float) -> None:
        """Something vaguely known of the log time on a candidate, that is no measurement."""
        self._add(candidate, log_time, variance)

    def observe(self, candidate: int, log_time: float, noise: float = NOISE) -> None:
        """A measured log time, with its standard error."""
        if self.scaled:
            spread = math.sqrt(float(self._posterior.raw[candidate]) + noise**2)
            off = ((log_time - self.means[:, candidate]) / spread).tolist()
            below = float(self.weights @ [0.5 * math.erfc(-z / math.sqrt(2)) for z in off])
            surprise = NormalDist().inv_cdf(min(max(below, 1e-9), 1 - 1e-9))
            self._surprises.append(min(surprise**2, LARGEST_SURPRISE))
        self.measured.append(candidate)
        self._add(candidate, log_time, noise**2)

    def fail(self, candidate: int) -> None:
        """The job failed there."""
        self.failed.append(candidate)

    def alike(self, candidate: int) -> Array:
        """Prior covariance (C,) of a candidate with all candidates."""
        everything = np.arange(len(self.prior.mean))
        row = covariance(self.prior.space, np.array([candidate]), everything, self.hyper)[0]
        factors = self.prior.factors
        row = row + self.hyper.history * factors[:, candidate] @ factors
        row[candidate] += self.hyper.own
        return np.asarray(row)

    def as_unlike(self) -> "Belief | None":
        """What the same measurements say of a job that is like no past one."""
        unlike = self.prior.unlike
        if unlike is None:
            return None
        found = Belief(unlike, self.hyper.widened())
        for seen in zip(self._seen, self._values, self._noise, strict=True):
            found._add(*seen)
        return found

    def _add(self, candidate: int, value: float, variance: float) -> None:
        self._columns = np.vstack([self._columns, self.alike(candidate)])
        self._seen.append(candidate)
        self._values.append(value)
        self._noise.append(variance)
        self._known = None

    @property
    def _posterior(self) -> _Posterior:
        if self._known is None:
            self._known = self._worked_out()
        return self._known

    def _worked_out(self) -> _Posterior:
        likely = np.log(self.prior.chances)
        means = self._base
        raw: Array = self._own + GUESSED_SCALE
        if self.scaled:
            k = self._columns[:, self._seen] + ANY_SCALE + np.diag(self._noise)
            factor = np.linalg.cholesky(k)
            towards = np.linalg.solve(factor, self._columns + ANY_SCALE)
            residual = np.array(self._values) - self._base[:, self._seen]
            whitened = np.linalg.solve(factor, residual.T)
            means = self._base + whitened.T @ towards
            raw = np.maximum(self._own + ANY_SCALE - (towards**2).sum(0), 1e-6)
            misfit = np.log1p((whitened**2).sum(0) / LIKENESS_DEGREES)
            likely = likely - 0.5 * (LIKENESS_DEGREES + len(self._seen)) * misfit
        weights = np.exp(likely - likely.max())
        # Of closed-form jobs there are few, and at first none is likelier than another.
        most = None if self.prior.first else MAX_CASES
        kept = np.argsort(-weights, kind="stable")[:most]
        kept = np.sort(kept[weights[kept] > LEAST_WEIGHT * weights.sum()])
        chances: Array = weights[kept] / weights[kept].sum()
        means = means[kept]
        mean: Array = chances @ means
        between: Array = chances @ (means - mean) ** 2
        within: Array = raw * (DEGREES + sum(self._surprises)) / self.degrees
        return _Posterior(kept, chances, means, raw, within, mean, between)


def _chance_to_fail(prior: Prior, failed: Sequence[int], worked: Sequence[int]) -> Array:
    """Chance (C,) of each candidate to fail: history's share, and outcomes on machines like it.

    What fails does so on anything smaller too, and what works does so on anything larger: an
    outcome counts in full in that direction, and fades in the other.
    """
    x = prior.space.x
    if len(prior.space.capacity):
        x = x[:, prior.space.capacity]
    against = _weight(x, failed, +1)
    found = (prior.failure + against) / (1 + against + _weight(x, worked, -1))
    found[list(worked)] = 0.0
    found[list(failed)] = 1.0
    return np.asarray(found)


def _weight(x: Array, outcomes: Sequence[int], harmful: int) -> Array:
    if not outcomes:
        return np.zeros(len(x))
    gap = x[:, None] - x[list(outcomes)][None]
    far = np.maximum(harmful * gap, 0).sum(2) + HARMLESS * np.abs(gap).sum(2)
    far /= max(x.shape[1], 1)
    return np.asarray(np.exp(-((far / REACH) ** 2) / 2).sum(1))
