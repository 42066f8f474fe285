"""The cheapest way on by all that is believed: probe while it pays, start, move where it pays.

Imports numpy: import it inside functions.
"""

import numpy as np

from mlbroker.policies.adapt.forecast import Forecast
from mlbroker.policies.adapt.interface import (
    MOVE_S,
    MOVE_SHARE,
    WORK_BETWEEN_MOVES,
    Candidate,
    Probe,
    Run,
    Terms,
    View,
)
from mlbroker.profiles.arrays import Array
from mlbroker.profiles.value_of_information import PROBE_MIN_S, PROBE_SHARE

# A way on is in time where this share of the draws is. What is missing from it costs so many times
# what the surest way costs: the same for all, or a cheap way that is late would beat a dear one
# that is nearly sure.
WANTED_CHANCE, LATE_PENALTY = 0.98, 30.0
# Below this chance a deadline is given up, and the fastest way is the best.
_HOPE = 0.05
# Outcomes of a probe that are thought through, and candidates that are then compared.
_OUTCOMES, _COMPARED = 16, 80
_MEASURED_SIGMA = 0.05
_MOST_PROBES = 12


class Ways(Forecast):
    """What going on with each candidate costs from here, move or start included. USD, seconds."""

    def __init__(self, view: View, price_per_s: Array, allowed: Array, seed: int) -> None:
        super().__init__(view, seed)
        terms = view.terms
        numbers = range(len(terms.candidates))
        if view.on is None:
            self.before_s = np.full(len(numbers), terms.setup_s)
        else:
            self.before_s = np.array([terms.move_s(view.on, number) for number in numbers])
        self.price_per_s = price_per_s
        self.limit_s = np.inf if view.time_left_s is None else view.time_left_s
        took = self.before_s + self.left_s
        self.chance = np.where(allowed, self._chance(took), 0.0)
        # Where nothing will be in time, what is least late: a cheap way there is no way at all.
        self._hopeless = bool(self.chance.max() < _HOPE)
        cost = (price_per_s * took).mean(0)
        sure = allowed & (self.chance >= min(WANTED_CHANCE, float(self.chance.max())))
        self._late_usd = LATE_PENALTY * float(cost[sure].min())
        self.loss = np.where(allowed, self._loss(took, price_per_s), np.inf)

    def _chance(self, took_s: Array) -> Array:
        """Of being in time; draws are the last axis but one."""
        return np.asarray((took_s <= self.limit_s).mean(-2))

    def _loss(self, took_s: Array, price_per_s: Array) -> Array:
        """Expected cost, with a penalty on the chance of being late."""
        if self._hopeless:
            return np.asarray(took_s.mean(-2) * self.price_per_s.max())
        short = np.maximum(WANTED_CHANCE - self._chance(took_s), 0.0) / WANTED_CHANCE
        return np.asarray((price_per_s * took_s).mean(-2) + self._late_usd * short)

    def worth_of_knowing_all(self, among: Array) -> float:
        """What no probe saves more than: the best way in each draw, for the best in all."""
        took = self.before_s[among] + self.left_s[:, among]
        cost = self.price_per_s[among] * took
        least = np.where(took <= self.limit_s, cost, np.inf).min(1)
        # Where nothing is in time, the least evil stands for it.
        least = np.where(np.isfinite(least), least, cost.min(1))
        return float(self.loss[among].min() - least.mean())

    def saving(self, probed: int, among: Array, than: float) -> float:
        """Expected fall of the least loss once the step time of one candidate is known.

        Draws are moved as far as the news and their covariance with it say (a Kalman gain).
        """
        news = self.log_step_s[:, probed]
        off = news - news.mean()
        logs = self.log_step_s[:, among]
        pull = off @ (logs - logs.mean(0)) / len(off) / (off.var() + _MEASURED_SIGMA**2)
        shown = np.quantile(news, (np.arange(_OUTCOMES) + 0.5) / _OUTCOMES)
        moved = logs + (shown[:, None] - news)[:, :, None] * pull
        took = self.before_s[among] + np.exp(moved) * self.steps_left[:, among]
        loss = self._loss(took, self.price_per_s[among])
        # What is chosen today, judged by the same draws: luck in the draws is no saving.
        today = loss[:, int(self.loss[among].argmin())].mean()
        return float(min(than, today) - loss.min(1).mean())


class ByBelief:
    """What the strategies share that go by the belief: they differ in what they allow and mind.

    `minds_price` False: time alone counts.
    """

    minds_price = True

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def allows(self, terms: Terms, one: Candidate) -> bool:
        """Whether this candidate may be chosen."""
        return True

    def decide(self, view: View) -> Probe | Run:
        """Probe, start, stay or move."""
        terms = view.terms
        if view.on is not None and not may_move(view):
            return Run(view.on)
        if not view.measured:
            return first_look(terms)
        allowed = np.array([self.allows(terms, one) for one in terms.candidates])
        if not allowed.any():
            # The batch cannot be made in passes of equal size: the least that can stands for it.
            batches = np.array([one.batch for one in terms.candidates])
            allowed = batches == batches.min()
        ways = Ways(view, self._prices(terms), allowed, self._seed)
        probe = self._worth_probing(view, ways)
        if probe is not None:
            return probe
        best = int(ways.loss.argmin())
        if view.on is None or moves(ways, view.on, best):
            return Run(best)
        return Run(view.on)

    def _prices(self, terms: Terms) -> Array:
        if not self.minds_price:
            return np.ones(len(terms.candidates))
        hourly = [terms.machines[one.machines].price_per_hour_usd for one in terms.candidates]
        return np.array(hourly) / 3600

    def _worth_probing(self, view: View, ways: Ways) -> Probe | None:
        terms, loss = view.terms, ways.loss
        seen = {timed.at.layout for timed in view.measured}
        if len(seen) >= _MOST_PROBES:
            return None
        machines = np.array([one.machines for one in terms.candidates])
        took = ways.before_s + np.quantile(ways.left_s, 0.2, axis=0)
        hopeful = np.where(np.isfinite(loss), ways.price_per_s * took, np.inf)
        if ways.chance.max() > 0:
            hopeful = np.where(took <= ways.limit_s, hopeful, np.inf)
        among = np.argsort(hopeful, kind="stable")[:_COMPARED]
        among = np.union1d(among[np.isfinite(hopeful[among])], [int(loss.argmin())])
        best, most, ceiling = None, 0.0, ways.worth_of_knowing_all(among)
        for number in sorted(set(machines[among].tolist())):
            if terms.machines[number].layout in seen:
                continue
            mine = among[machines[among] == number]
            probed = int(mine[loss[mine].argmin()])
            work_s = float(ways.left_s[:, probed].mean())
            span_s = terms.setup_s + max(PROBE_MIN_S, PROBE_SHARE * work_s)
            costs = float(ways.price_per_s[probed]) * span_s
            if costs >= ceiling:
                continue
            saves = ways.saving(probed, among, float(loss.min()))
            if saves - costs > most:
                best, most = probed, saves - costs
        if best is None:
            return None
        return Probe(int(machines[best]), (terms.candidates[best].local_batch,))


def may_move(view: View) -> bool:
    """Whether enough of the work was done since the start or the last move, and since the last
    look: one in each such part of the work.
    """
    steps, one = view.terms.default_steps, WORK_BETWEEN_MOVES * sum(view.terms.default_steps)
    before = sum(steps[: view.epoch - 1])
    done = before + steps[view.epoch - 1]
    return done - sum(steps[: view.moved_at]) >= one and done // one > before // one


def moves(ways: Ways, on: int, best: int) -> bool:
    """Where staying misses the deadline and moving does not, or where a move saves enough."""
    if ways.chance[on] < WANTED_CHANCE <= ways.chance[best]:
        return True
    saves = float(ways.loss[on] - ways.loss[best])
    least = max(MOVE_SHARE * float(ways.loss[on]), MOVE_S * float(ways.price_per_s[best]))
    return saves > least


def first_look(terms: Terms) -> Probe:
    """The cheapest machines with one GPU: for little, they tell how large the job is."""
    single = [n for n, one in enumerate(terms.machines) if one.layout.gpus == 1]
    number = min(single, key=lambda n: terms.machines[n].price_per_hour_usd)
    one = terms.machines[number]
    return Probe(number, tuple(sorted({one.least_local, one.most_local})))
