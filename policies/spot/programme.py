"""When to be on spot, when on demand, and when to wait: a dynamic programme over work and time.

Notation (hours; costs in hours on demand; arrays are of shape (class of age, work left)):

    t      time left until the deadline: the layers of the programme, `step` apart
    w      work left, as long as it takes; t - w is the slack
    d      a restart: from the request of a machine until the job works on; `boot` layers
    up k   a spot machine can be had, and could be for as long as class k of `AGES_H` says
    down k none can be had, for as long as class k says

Every action takes time, so one pass over the layers from t = 0 upwards is enough.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mlbroker.policies.spot.hazards import (
    AGES_H,
    PREEMPTIONS_PER_H,
    RECOVERIES_PER_H,
    UNKNOWN_AGE_H,
    age_class,
)

Array = NDArray[np.float64]
Moves = NDArray[np.int8]
_CLASSES = len(AGES_H)
# The class of a machine that is taken in place of one that went: nobody knows; the middle.
OTHER = 3
# Dear enough that nothing else is weighed against it.
_LATE_PER_H: float = 1e6
_MOST_LAYERS_A_STEP = 4
_SLACK_STEPS = 20
_HAIR = 1e-9
# Who waits while a machine can be had wants to save so much of an hour on demand for each hour.
_WAIT_WORTH = 0.02


class Move(IntEnum):
    """What to do now. `KEEP` is to go on as one is: idle, on demand or on spot."""

    KEEP = 0
    SPOT = 1
    ON_DEMAND = 2
    RELEASE = 3


@dataclass(frozen=True, slots=True)
class Question:
    """What a solution depends on. `price` is the share of an hour on demand."""

    work_h: float
    deadline_h: float
    restart_h: float
    lost_h: float  # work since the last checkpoint, at most
    price: float
    preemption: float  # factor on PREEMPTIONS_PER_H
    recovery: float  # factor on RECOVERIES_PER_H
    spare: float  # chance that another zone has a machine when this one's is taken
    steps: int = 200  # of the work, at most
    overlaps: bool = True  # one machine works on while another boots


@dataclass(frozen=True, slots=True)
class Programme:
    """The best moves by layer of time left, class of age, and step of work left.

    `value` is what is yet to be paid where a machine can be had, and could be for as long as
    whoever looks for the first time expects: by layer and step, in hours on demand.
    """

    step_h: float
    value: NDArray[np.float32]
    idle_up: Moves
    idle_down: Moves
    demand_up: Moves
    demand_down: Moves
    spot: Moves

    def value_h(self, slack_h: float, work_left_h: float) -> float:
        """`value` between the cells, along lines of equal slack: beside them lies what is late."""
        before = max(0, int(slack_h / self.step_h + _HAIR))
        part = min(1.0, slack_h / self.step_h - before)
        tight, ample = self._along(before, work_left_h), self._along(before + 1, work_left_h)
        # The tighter line may be one of being late: then the ampler one is as near as it gets.
        return ample if tight >= _LATE_PER_H * self.step_h else tight + (ample - tight) * part

    def _along(self, slack: int, work_left_h: float) -> float:
        layers, steps = self.value.shape
        exact: float = min(work_left_h / self.step_h, steps - 1.0)
        low: int = min(int(exact), steps - 2)
        first, second = (
            float(self.value[min(step + slack, layers - 1), step]) for step in (low, low + 1)
        )
        return first + (second - first) * (exact - low)

    def cell(self, time_left_h: float, work_left_h: float) -> tuple[int, int]:
        """The step nearest to the work, never none, and the layer nearest to the slack beside it.

        The slack decides: rounded by itself, time would be wrong by as much again.
        """
        layers, _, steps = self.spot.shape
        step = min(steps - 1, max(1, round(work_left_h / self.step_h)))
        slack = round((time_left_h - work_left_h) / self.step_h)
        return min(layers - 1, max(0, step + slack)), step


Solver = Callable[[Question], Programme]


def upward(hours: float, factor: float) -> float:
    """The next power of `factor`: questions that differ by less are answered once.

    A programme holds for any work and time left within it: more of both is only coarser.
    """
    return float(factor ** np.ceil(np.log(hours) / np.log(factor) - _HAIR))


@lru_cache(maxsize=128)
def solve(question: Question) -> Programme:
    """The programme for these terms, in some tenths of a second."""
    solution = _Solution(question)
    for layer in range(1, solution.layers):
        solution.fill(layer)
    value = solution.states[0].cost[:, age_class(UNKNOWN_AGE_H)].astype(np.float32)
    moves = {state.name: state.moves for state in solution.states}
    return Programme(solution.step, value, **moves)


class _State:
    """What one kind of state costs yet, and the best move in it."""

    def __init__(self, name: str, layers: int, work: Array) -> None:
        shape = (layers, _CLASSES, len(work))
        self.name = name
        self.cost = np.zeros(shape)
        self.moves = np.zeros(shape, np.int8)
        self.cost[0] = work * _LATE_PER_H

    def fill(self, layer: int, *choices: tuple[Move, Array], worth: float = 0.0) -> None:
        """The first of the choices has to be better than the others by its `worth`."""
        (first, cost), *others = choices
        moves = np.full(cost.shape, first, np.int8)
        for move, other in others:
            better = other < cost + np.where(moves == first, worth, 0.0)
            cost = np.where(better, other, cost)
            moves[better] = move
        self.cost[layer], self.moves[layer] = cost, moves
        self.cost[layer][:, 0] = 0  # nothing is left to do


def _step_h(question: Question) -> float:
    """At most twice as fine as the steps asked for: where slack is short, it has to be seen.

    A restart longer than a step is some whole steps: rounded up it would take slack along.
    """
    steps, restart_h = question.steps, question.restart_h
    asked_h = max(question.work_h / steps, question.deadline_h / (steps * _MOST_LAYERS_A_STEP))
    slack_h = question.deadline_h - question.work_h
    step_h = max(asked_h / 2, min(asked_h, slack_h / _SLACK_STEPS))
    if restart_h <= step_h:
        return step_h
    whole = float(np.ceil(restart_h / step_h - _HAIR))
    return restart_h / (whole if restart_h / whole >= asked_h / 2 else whole - 1)


class _Solution:
    def __init__(self, question: Question) -> None:
        self.question = question
        self.step = _step_h(question)
        self.layers = int(np.ceil(question.deadline_h / self.step - _HAIR)) + 1
        steps = int(np.ceil(question.work_h / self.step - _HAIR)) + 1
        self.work: Array = np.arange(steps, dtype=np.float64) * self.step
        self.boot = max(1, int(np.ceil(question.restart_h / self.step - _HAIR)))
        boot_h = self.boot * self.step
        self.done_h = boot_h - question.restart_h  # worked in the rest of the last layer
        rates = PREEMPTIONS_PER_H[:, None] * question.preemption
        self.leaves = 1 - np.exp(-rates * self.step)
        self.leaves_booting = 1 - np.exp(-rates * boot_h)
        self.comes = 1 - np.exp(-RECOVERIES_PER_H[:, None] * question.recovery * self.step)
        self.ages = 1 - np.exp(-self.step / np.diff(AGES_H, append=np.inf)[:, None])
        # Of the time that one takes, what is worked, and so paid: less at the very end.
        self.paid = np.minimum(self.work, self.step)
        self.paid_start = np.minimum(boot_h, question.restart_h + self.work)
        self.paid_beside = np.minimum(self.work, boot_h)
        self.shifts: dict[float, tuple[NDArray[np.intp], NDArray[np.intp], float]] = {}
        names = ("idle_up", "idle_down", "demand_up", "demand_down", "spot")
        self.states = [_State(name, self.layers, self.work) for name in names]

    def fill(self, layer: int) -> None:
        """The best moves with so many steps of time left."""
        question, boot_h = self.question, self.boot * self.step
        idle_up, idle_down, demand_up, demand_down, spot = self.states
        before, booted = layer - 1, max(0, layer - self.boot)
        slack = layer * self.step - self.work
        late = np.maximum(0, -slack - _HAIR) * _LATE_PER_H
        short = late + _LATE_PER_H * (layer < self.boot)
        waits = self._unless(slack - self.step >= question.restart_h - _HAIR)
        trial_h = question.restart_h + question.lost_h - _HAIR
        tries = short + self._unless(slack >= question.restart_h + trial_h)
        swaps = short + self._unless(slack >= trial_h)

        lives, price = 1 - self.leaves_booting, question.price
        works = self._shifted(spot.cost[booted], self.done_h)
        # Taken away while it boots, at any moment: on average so much is worked by then.
        tried_h = self.done_h**2 / (2 * boot_h)
        fails = self._shifted(self._other(idle_up, idle_down, booted), tried_h)
        start = self.paid_start + short
        idle_up.fill(
            layer,
            (Move.KEEP, self._up_yet(idle_up, idle_down, before) + waits),
            (Move.ON_DEMAND, start + self._shifted(demand_up.cost[booted], self.done_h)),
            (
                Move.SPOT,
                price * self.paid_start + lives * works + self.leaves_booting * fails + tries,
            ),
            worth=_WAIT_WORTH * self.step,
        )
        idle_down.fill(
            layer,
            (Move.KEEP, self._down_yet(idle_up, idle_down, before) + waits),
            (Move.ON_DEMAND, start + self._shifted(demand_down.cost[booted], self.done_h)),
        )

        beside = (1 + price) * self.paid_beside
        works = self._shifted(spot.cost[booted], boot_h)
        fails = self._shifted(self._other(demand_up, demand_down, booted), boot_h)
        goes_on = self.paid + late
        stays_up = self._shifted(self._up_yet(demand_up, demand_down, before), self.step)
        stays_down = self._shifted(self._down_yet(demand_up, demand_down, before), self.step)
        # One at a time: to release it, and then to go to spot.
        returns = beside + lives * works + self.leaves_booting * fails + swaps
        demand_up.fill(
            layer,
            (Move.KEEP, goes_on + stays_up),
            (Move.SPOT, returns if question.overlaps else np.full_like(returns, np.inf)),
            (Move.RELEASE, idle_up.cost[layer]),
        )
        demand_down.fill(
            layer, (Move.KEEP, goes_on + stays_down), (Move.RELEASE, idle_down.cost[layer])
        )

        # What was worked since the last checkpoint is lost: half of the most, on average.
        gone = self._shifted(
            self._other(idle_up, idle_down, before), self.step - question.lost_h / 2
        )
        stays = self._shifted(self._aged(spot.cost[before]), self.step)
        if question.overlaps:
            falls_back = beside + short + self._shifted(demand_up.cost[booted], boot_h)
        else:
            falls_back = start + self._shifted(demand_up.cost[booted], self.done_h)
        spot.fill(
            layer,
            (Move.KEEP, price * self.paid + (1 - self.leaves) * stays + self.leaves * gone + late),
            (Move.ON_DEMAND, falls_back),
        )

    def _up_yet(self, up: _State, down: _State, layer: int) -> Array:
        """One step on while a machine could be had."""
        falls = self._other(up, down, layer)
        return (1 - self.leaves) * self._aged(up.cost[layer]) + self.leaves * falls

    def _down_yet(self, up: _State, down: _State, layer: int) -> Array:
        """One step on while none can."""
        stays = self._aged(down.cost[layer])
        kept: Array = (1 - self.comes) * stays + self.comes * up.cost[layer][:1]
        return kept

    def _other(self, up: _State, down: _State, layer: int) -> Array:
        """When the machine is taken: another zone's, or an outage begins."""
        spare = self.question.spare
        kept: Array = spare * up.cost[layer][OTHER, None] + (1 - spare) * down.cost[layer][:1]
        return kept

    def _aged(self, values: Array) -> Array:
        """Some grow into the next class; the last has none."""
        older = np.concatenate([values[1:], values[-1:]])
        grown: Array = values + self.ages * (older - values)
        return grown

    def _shifted(self, values: Array, by_h: float) -> Array:
        """The values with so much work less, between the steps by interpolation."""
        found = self.shifts.get(by_h)
        if found is None:
            whole, part = divmod(by_h / self.step, 1)
            near = np.clip(np.arange(len(self.work)) - int(whole), 0, len(self.work) - 1)
            found = self.shifts[by_h] = near, np.maximum(near - 1, 0), part
        near, next_to, part = found
        moved: Array = values[:, near] * (1 - part) + values[:, next_to] * part
        return moved

    @staticmethod
    def _unless(allowed: NDArray[np.bool_]) -> Array:
        return np.where(allowed, 0.0, _LATE_PER_H)
