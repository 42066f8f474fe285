"""What the programme's policy is expected to cost and to take: many histories, played at once.

The programme's own model of zones (its rates, its ages, its spare zones) is drawn from a seed, and
its moves are made in it behind the shell of the deadline, one layer of the programme after the
other. All arrays have one entry for each history; times are hours. The shell of the budget is not
played: where the cap holds the job on demand it hardly binds.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlbroker.policies.outcome import normal_quantile
from mlbroker.policies.spot.interface import Terms
from mlbroker.policies.spot.programme import Move, Programme
from mlbroker.policies.spot.rates import Rates
from mlbroker.policies.spot.sky import Sky

HISTORIES = 400
_HAIR_H = 1e-9
# What works: nothing, a spot machine, one on demand.
_NONE, _SPOT, _DEMAND = 0, 1, 2

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Work(NamedTuple):
    """How long the work really takes: log-normal around its median.

    The policy knows nothing of it, and reckons with `Terms.work_h` until the job is done.
    """

    median_h: float
    sigma_log: float = 0.0


class Forecast(NamedTuple):
    """What is expected of a job. `late` is the share of histories that end past the deadline."""

    mean_usd: float
    p90_usd: float
    finish_p10_h: float
    finish_p50_h: float
    finish_p90_h: float
    on_demand_share: float  # of the work
    machine_h: float
    late: float


def forecast(
    terms: Terms,
    spot_usd_per_h: float,
    rates: Rates,
    programme: Programme,
    work: Work | None = None,
    histories: int = HISTORIES,
) -> Forecast:
    """Deterministic: the same question has the same answer. A machine is there at the beginning."""
    played = _Histories(terms, rates, programme, work or Work(terms.work_h), histories)
    while played.works.any() and played.at_h < terms.deadline_h:
        played.decide()
        played.pass_layer()
    played.end_on_demand()
    usd = played.spot_h * spot_usd_per_h + played.demand_h * terms.on_demand_usd_per_h
    usd += played.starts * terms.once_usd
    finish_h = np.quantile(played.now_h, (0.1, 0.5, 0.9))
    return Forecast(
        mean_usd=float(usd.mean()),
        p90_usd=float(np.quantile(usd, 0.9)),
        finish_p10_h=float(finish_h[0]),
        finish_p50_h=float(finish_h[1]),
        finish_p90_h=float(finish_h[2]),
        on_demand_share=float(played.demand_work_h.sum() / played.work_h.sum()),
        machine_h=float((played.spot_h + played.demand_h).mean()),
        late=float((played.now_h > terms.deadline_h + 1e-6).mean()),
    )


def drawn_work_h(work: Work, random: np.random.Generator, histories: int) -> Array:
    """How long the work takes in each history."""
    scores = random.permutation(_scores(histories))
    drawn: Array = work.median_h * np.exp(work.sigma_log * scores)
    return drawn


@lru_cache(maxsize=4)
def _scores(histories: int) -> Array:
    """Standard normal values, evenly over their quantiles."""
    return np.array([normal_quantile((at + 0.5) / histories) for at in range(histories)])


class _Histories:
    def __init__(
        self, terms: Terms, rates: Rates, programme: Programme, work: Work, histories: int
    ) -> None:
        self.terms, self.programme = terms, programme
        self.step = step = programme.step_h
        random = np.random.default_rng(0)
        self.work_h = drawn_work_h(work, random, histories)
        self.left, self.saved = self.work_h.copy(), self.work_h.copy()
        self.now_h, self.spot_h, self.demand_h, self.demand_work_h, self.boot = np.zeros(
            (5, histories)
        )
        self.starts = np.zeros(histories, int)
        self.at_h = 0.0
        self.works: Flags = np.ones(histories, bool)
        self.sky = Sky(rates, step, random, histories)
        # `beside` boots while the other works, and takes over.
        self.on, self.beside = np.zeros((2, histories), np.int8)
        # By what works, and whether a machine could be had: spot that works is there.
        self.moves = (
            (programme.idle_down, programme.idle_up),
            (programme.spot, programme.spot),
            (programme.demand_down, programme.demand_up),
        )

    def decide(self) -> None:
        """The programme's moves, as far as the shell lets them pass."""
        terms, on = self.terms, self.on
        time_left = terms.deadline_h - self.at_h
        reckoned = np.maximum(terms.work_h - self.work_h + self.left, self.step)
        layers, _, steps = self.programme.spot.shape
        cell = np.minimum(steps - 1, np.rint(reckoned / self.step).astype(np.intp))
        slack_steps = np.rint((time_left - reckoned) / self.step).astype(np.intp)
        layer = np.clip(cell + slack_steps, 0, layers - 1)
        move = self._looked_up(layer, cell)
        released = (on == _DEMAND) & (move == Move.RELEASE)
        if released.any():
            idle = np.where(
                self.sky.up,
                self.programme.idle_up[layer, self.sky.age, cell],
                self.programme.idle_down[layer, self.sky.age, cell],
            )
            move = np.where(released & (idle == Move.SPOT), Move.SPOT, move)
        free = self.works & (self.beside == _NONE) & (self.boot <= _HAIR_H)
        slack = time_left - reckoned
        may_wait = slack - self.step >= terms.restart_h - _HAIR_H
        restarts = np.where((on == _DEMAND) & terms.overlaps, 1, 2)
        may_spot = self.sky.up & (slack >= restarts * terms.restart_h + terms.lost_h - _HAIR_H)

        to_spot = free & (on != _SPOT) & (move == Move.SPOT) & may_spot
        idle_now = free & (on == _NONE) & ~to_spot
        to_demand = idle_now & ((move == Move.ON_DEMAND) | ~may_wait)
        may_leave = terms.overlaps | (slack >= terms.restart_h - _HAIR_H)
        to_demand |= free & (on == _SPOT) & (move == Move.ON_DEMAND) & may_leave
        leaves = free & (on == _DEMAND) & (move == Move.RELEASE) & may_wait
        if not terms.overlaps:
            ended = (to_spot | to_demand) & (on != _NONE)
            self.saved[ended], on[ended] = self.left[ended], _NONE
        for starts, kind in ((to_spot, _SPOT), (to_demand, _DEMAND)):
            self.beside[starts & (on != _NONE)] = kind
            on[starts & (on == _NONE)] = kind
            self.boot[starts] = terms.restart_h
            self.starts += starts
        on[leaves] = _NONE

    def _looked_up(self, layer: NDArray[np.intp], cell: NDArray[np.intp]) -> NDArray[np.int8]:
        found = np.zeros(len(cell), np.int8)
        for kind, (down, up) in enumerate(self.moves):
            for is_up, table in ((False, down), (True, up)):
                here = (self.on == kind) & (self.sky.up == is_up)
                found[here] = table[layer[here], self.sky.age[here], cell[here]]
        return found

    def pass_layer(self) -> None:
        """Boot, work and pay for one layer, then see what was taken."""
        booting = np.minimum(self.boot, self.step)
        self._pass(booting, works=self.beside != _NONE)
        self.boot -= booting
        over = (self.beside != _NONE) & (self.boot <= _HAIR_H)
        self.on[over], self.saved[over] = self.beside[over], self.left[over]
        self.beside[over] = _NONE
        self._pass(self.step - booting, works=(self.on != _NONE) & (self.boot <= _HAIR_H))
        self.at_h += self.step
        self._see()

    def _pass(self, span: Array, works: Flags) -> None:
        active = self.works
        busy = active & works
        worked = np.where(busy, np.minimum(span, self.left), 0.0)
        passed = np.where(busy, worked, np.where(active, span, 0.0))
        self.left -= worked
        self.now_h += passed
        demand = self.on == _DEMAND
        self.spot_h += passed * ((self.on == _SPOT) + 0.0 + (self.beside == _SPOT))
        self.demand_h += passed * (demand + 0.0 + (self.beside == _DEMAND))
        self.demand_work_h += worked * demand
        self.works = active & (self.left > _HAIR_H)
        self.saved = np.where(demand, self.left, self.saved)
        lost_h = self.terms.lost_h
        if lost_h > self.step * 1e-3:
            done = np.floor((self.saved - self.left) / lost_h + _HAIR_H) * lost_h
            self.saved -= np.where(busy, done, 0.0)
        else:
            self.saved = self.left.copy()

    def end_on_demand(self) -> None:
        """What is left past the deadline no policy is late with any more: it is worked off."""
        demand_h = np.where(self.works, self.boot + self.left, 0.0)
        self.now_h += demand_h
        self.demand_h += demand_h
        self.demand_work_h += np.where(self.works, self.left, 0.0)
        self.works = np.zeros(len(self.left), bool)

    def _see(self) -> None:
        """A machine that was taken is there no more."""
        taken = self.sky.pass_step()
        booted_beside = taken & (self.beside == _SPOT)
        self.beside[booted_beside] = _NONE
        self.boot[booted_beside] = 0.0
        gone = taken & (self.on == _SPOT)
        self.left[gone] = self.saved[gone]
        self.boot[gone & (self.beside == _NONE)] = 0.0
        self.on[gone], self.beside[gone] = self.beside[gone], _NONE
