"""Which candidate to measure next, and when to stop: the value of information in US dollars.

A probe is worth its price if, on average, it saves more than it costs: Weitzman's rule for boxes
that cost something to open, applied anew after every measurement to what is then believed. The
choice is a pure function of the belief; nothing is random.

Imports numpy: import it inside functions.
"""

import math
from dataclasses import dataclass

import numpy as np

from mlbroker.profiles.arrays import Array
from mlbroker.profiles.transfer.belief import Belief
from mlbroker.profiles.transfer.history import Prior
from mlbroker.profiles.transfer.kernel import Hyper

# A probe measures two per cent of the work, at least a minute.
PROBE_SHARE = 0.02
PROBE_MIN_S = 60.0
# The chance of meeting the deadline below which a choice is penalised, and how steeply.
WANTED_CHANCE = 0.9
LATE_PENALTY = 30.0
# A failed run costs this many times itself: it is lost, the deadline is nearer, somebody looks.
FAILURE_PENALTY = 3.0
# Before anything is known of the job's length, probes are priced as if its cheapest machines took
# this long.
USUAL_JOB_S = 7200.0
# People set deadlines that can be met: the fastest machine takes about half of one, within a
# factor of two or so (standard deviation of its logarithm).
DEADLINE_FACTOR = 2.0
DEADLINE_SIGMA = 0.8
# The predictive distribution is summed at so many points, up to so many standard deviations away.
POINTS, REACH = 61, 4.0
# The most promising of many is promising by luck too, the more so the more were looked at: after
# every so many probes, the next must be worth its price once more.
PROBES_PER_BAR = 6
# Of a first job: a machine on which the run costs so many times the best choice needs no whole
# probe to be told.
HOPELESS = 3.0
# A look at the kind of machine never looked at may cost so much of the run, and must save a tenth
# of it in at least one of ten worlds in which the job is like none of the past.
LOOK_SHARE, LOOK_SAVES, LOOK_CHANCE = 0.05, 0.1, 0.1
# Only so many candidates, those that look best in a good case, are considered for a probe.
MAX_CONSIDERED = 400
# That many candidates times cases, or a decision would take too long.
MAX_OUTCOMES = 9_600
CHEAPEST = 5
MAX_PROBES = 25
MAX_LOG = 60.0


@dataclass(frozen=True, slots=True)
class Terms:
    """What candidates cost and what the job must meet. One price for each candidate.

    `setup_s`, for all or for each, is paid before every probe and run; the deadline includes it.
    A probe is ended after `longest_probe_s`, whatever it has seen by then.
    """

    price_per_hour_usd: Array
    setup_s: float | Array
    deadline_s: float | None = None
    longest_probe_s: float = math.inf

    @property
    def setup(self) -> Array:
        """Set-up of each candidate."""
        return np.broadcast_to(np.asarray(self.setup_s), self.price_per_hour_usd.shape)


@dataclass(frozen=True, slots=True)
class Step:
    """The next thing to do: probe the candidate, or commit to it. None: no candidate is left.

    `costs_usd` and `saves_usd` are the expected price and worth of the probe, luck discounted;
    when the step is to commit, they are those of the best probe that was not worth its price.
    """

    candidate: int | None
    probe: bool
    costs_usd: float = 0.0
    saves_usd: float = 0.0


def begin(prior: Prior, hyper: Hyper, terms: Terms) -> Belief:
    """The belief before any measurement of the job.

    Whatever the job is like, it takes the usual time on the machines that are cheapest for it: one
    that gains from a GPU is no small job for that.
    """
    times = prior.mean + prior.offsets
    cheapest = np.argsort(np.log(terms.price_per_hour_usd) + times, kind="stable")[:, :CHEAPEST]
    level = math.log(USUAL_JOB_S) - np.take_along_axis(times, cheapest, 1).mean(1)[:, None]
    belief = Belief(prior, hyper, log_scale=level)
    if terms.deadline_s is not None:
        fastest = int(prior.mean.argmin())
        work_s = max(terms.deadline_s - float(terms.setup[fastest]), PROBE_MIN_S)
        belief.hint(fastest, math.log(work_s / DEADLINE_FACTOR), DEADLINE_SIGMA**2)
    return belief


def next_step(belief: Belief, terms: Terms, max_probes: int = MAX_PROBES) -> Step:
    """The probe that is worth most, or the commitment to the least expected loss."""
    failure = belief.failure
    loss = np.where(failure < 1, losses(belief, terms, failure), np.inf)
    best = int(loss.argmin())
    if not np.isfinite(loss[best]):
        return Step(None, probe=False)
    probed = np.zeros(len(loss), dtype=bool)
    probed[belief.measured] = probed[belief.failed] = True
    open_ = np.flatnonzero(~probed)
    if not len(open_):
        return Step(best, probe=False)
    price = terms.price_per_hour_usd / 3600
    most = min(MAX_CONSIDERED, MAX_OUTCOMES // len(belief.weights))
    if len(open_) > most:
        promise = _promise(belief, terms, float(loss[best]))[open_]
        open_ = np.sort(open_[np.argsort(-promise, kind="stable")[:most]])
    work_s = expected_s(belief)[open_]
    if belief.prior.first:
        # How long the machines take that may be of no use at all, nobody can believe yet.
        work_s = np.minimum(work_s, HOPELESS * loss[best] / price[open_])
    probe_usd = price[open_] * probe_s(work_s, terms.setup[open_], terms.longest_probe_s)
    outcome = _Outcomes(belief, terms, open_, failure)
    saves = outcome.saving(np.full(len(open_), loss[best]))
    if not probed[best] and best in open_:
        saves[np.searchsorted(open_, best)] = _assurance(belief, terms, loss, best, failure)
    saves /= 1 + probed.sum() / PROBES_PER_BAR
    worth = saves > probe_usd
    if not worth.any() and probed.sum() < max_probes:
        look = _other_kind(belief, terms, loss, probed)
        if look is not None:
            return look
    if not worth.any() or probed.sum() >= max_probes:
        nearest = int((saves - probe_usd).argmax())
        return Step(best, False, float(probe_usd[nearest]), float(saves[nearest]))
    worthy = np.flatnonzero(worth)
    index = outcome.narrowed(worthy).reservation(probe_usd[worthy], float(loss[best]))
    chosen = int(worthy[index.argmin()])
    return Step(int(open_[chosen]), True, float(probe_usd[chosen]), float(saves[chosen]))


def _other_kind(belief: Belief, terms: Terms, loss: Array, probed: Array) -> Step | None:
    """A cheap look at the kind of machine (with a GPU or without) that nothing was seen of, where
    it may well save something if the job is like none of the past.
    """
    unlike = belief.as_unlike()
    if unlike is None or not belief.measured or unlike.prior.gpu is None:
        return None
    gpu = unlike.prior.gpu
    kinds = set(gpu[probed].tolist())
    if len(kinds) != 1 or math.isnan(seen := kinds.pop()):
        return None
    other = np.flatnonzero((gpu == 1 - seen) & np.isfinite(loss))
    if not len(other):
        return None
    least = float(loss.min())
    price, setup_s = terms.price_per_hour_usd[other] / 3600, terms.setup[other]
    work_s = np.exp(np.minimum(unlike.means[:, other], MAX_LOG))
    run_s = setup_s + work_s
    saved = np.maximum(least - price * run_s, 0.0)
    if terms.deadline_s is not None:
        saved = saved * (run_s <= terms.deadline_s)
    weights = unlike.weights
    if weights @ (saved.max(1) >= LOOK_SAVES * least) < LOOK_CHANCE:
        return None
    # It must be cheap by what past jobs say, too.
    length_s = np.maximum(weights @ work_s, np.exp(np.minimum(belief.mean[other], MAX_LOG)))
    costs = price * probe_s(length_s, setup_s, terms.longest_probe_s)
    saves = np.where(costs <= LOOK_SHARE * least, weights @ saved, 0.0)
    chosen = int((saves - costs).argmax())
    if saves[chosen] <= costs[chosen]:
        return None
    return Step(int(other[chosen]), True, float(costs[chosen]), float(saves[chosen]))


def probe_s(work_s: Array, setup_s: Array, longest_s: float = math.inf) -> Array:
    """Length of a probe of so much work, set-up included."""
    return np.asarray(
        setup_s + np.minimum(np.maximum(PROBE_MIN_S, PROBE_SHARE * work_s), longest_s)
    )


def losses(belief: Belief, terms: Terms, failure: Array) -> Array:
    """Expected loss in US dollars of committing to each candidate now."""
    loss = terms.price_per_hour_usd / 3600 * (terms.setup + expected_s(belief))
    loss = loss * (1 + FAILURE_PENALTY * failure)
    if terms.deadline_s is not None:
        slack = np.log(np.maximum(terms.deadline_s - terms.setup, 1e-3))
        chance = within(belief, slack) * (1 - failure)
        short = np.maximum(0.0, WANTED_CHANCE - chance) / WANTED_CHANCE
        loss = loss * (1 + LATE_PENALTY * short)
    return np.asarray(loss)


def _promise(belief: Belief, terms: Terms, than: float) -> Array:
    """What each candidate saves over something that costs `than`, if in each case it is somewhat
    faster than believed.
    """
    log_times = np.minimum(belief.means - np.sqrt(belief.within), MAX_LOG)
    run_s = terms.setup + np.exp(log_times)
    gain = np.maximum(than - terms.price_per_hour_usd / 3600 * run_s, 0.0)
    if terms.deadline_s is not None:
        gain = gain * (run_s <= terms.deadline_s)
    return np.asarray(belief.weights @ gain)


def expected_s(belief: Belief) -> Array:
    """Expected time of the work on each candidate, as far as a mean exists."""
    times = np.exp(np.minimum(belief.means + belief.within / 2, MAX_LOG))
    return np.asarray(belief.weights @ times)


def within(belief: Belief, log_times: Array) -> Array:
    """Chance that the work on each candidate takes no longer than its log time."""
    z = (log_times - belief.means) / np.sqrt(belief.within)
    return np.asarray(belief.weights @ _below(z))


def _below(z: Array) -> Array:
    """The standard normal distribution, to seven digits (Abramowitz and Stegun, 26.2.17)."""
    t = 1 / (1 + 0.2316419 * np.abs(z))
    tail = np.exp(-z * z / 2) * t / math.sqrt(2 * math.pi)
    series = 0.319381530 + t * (
        -0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))
    )
    return np.asarray(np.where(z > 0, 1 - tail * series, tail * series))


def _assurance(belief: Belief, terms: Terms, loss: Array, best: int, failure: Array) -> float:
    """What a probe of the best choice itself saves: it may show that the second best is better."""
    second = float(np.delete(loss, best).min(initial=np.inf))
    if not np.isfinite(second):
        # There is nothing else: what is saved is a failed run, if failures make one likely.
        feared = max(0.0, float(failure[best] - belief.prior.failure[best])) * FAILURE_PENALTY
        return float(loss[best]) * feared / (1 + float(failure[best]) * FAILURE_PENALTY)
    outcome = _Outcomes(belief, terms, np.array([best]), failure)
    return max(0.0, float(loss[best]) - outcome.better_of(second))


class _Outcomes:
    """What probes of some candidates may show: costs of the run, each with its probability."""

    def __init__(self, belief: Belief, terms: Terms, rows: Array, failure: Array) -> None:
        means, spread = belief.means[:, rows], np.sqrt(belief.within[rows])
        low, high = means.min(0) - REACH * spread, means.max(0) + REACH * spread
        log_times = low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, POINTS)
        run_s = terms.setup[rows][:, None] + np.exp(np.minimum(log_times, MAX_LOG))
        degrees = belief.degrees
        chance = np.zeros_like(log_times)
        for weight, mean in zip(belief.weights.tolist(), means, strict=True):
            z = (log_times - mean[:, None]) / spread[:, None]
            chance += weight * (1 + z**2 / degrees) ** (-(degrees + 1) / 2)
        chance *= ((1 - failure[rows]) / chance.sum(1))[:, None]
        if terms.deadline_s is not None:
            chance = chance * (run_s <= terms.deadline_s)
        self._cost = terms.price_per_hour_usd[rows][:, None] / 3600 * run_s
        self._chance = chance

    def narrowed(self, some: Array) -> "_Outcomes":
        """Those at these places."""
        other = object.__new__(_Outcomes)
        other._cost, other._chance = self._cost[some], self._chance[some]
        return other

    def saving(self, than: Array) -> Array:
        """Expected saving of having each as an alternative to something that costs `than`."""
        gain = np.maximum(than[:, None] - self._cost, 0.0) * self._chance
        return np.asarray(gain.sum(1))

    def better_of(self, second: float) -> float:
        """Expected cost of the first one, or of `second` if that is cheaper or the first fails."""
        chance = self._chance[0]
        kept = np.minimum(self._cost[0], second) * chance
        return float(kept.sum() + (1 - chance.sum()) * second)

    def reservation(self, probe_usd: Array, ceiling: float) -> Array:
        """The cost at which each probe would just be worth its price (Weitzman's index)."""
        low, high = self._cost.min(1), np.full(len(self._cost), ceiling)
        low = np.minimum(low, high)
        for _ in range(30):
            middle = np.sqrt(low * high)
            enough = self.saving(middle) >= probe_usd
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        return np.asarray(high)
