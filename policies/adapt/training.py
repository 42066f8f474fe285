"""A training job whose times and noise are known, and what a strategy would have made of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from mlbroker.policies.adapt.interface import (
    Candidate,
    Machines,
    NoiseSeen,
    Past,
    Probe,
    Strategy,
    Terms,
    View,
)
from mlbroker.profiles.arrays import Array
from mlbroker.profiles.step_model import StepAt, Timed
from mlbroker.profiles.value_of_information import PROBE_MIN_S, PROBE_SHARE

# Batches that are tried, a doubling.
_PER_DOUBLING = 2


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Measured steps on some machines, by local batch in rising order. Seconds."""

    machines: Machines
    local_batch: Array
    step_s: Array
    sync_s: Array

    def at(self, local_batch: float, accumulated: int = 0) -> float:
        """Between what was measured, along a straight line: time of an optimizer step."""
        step = float(np.interp(local_batch, self.local_batch, self.step_s))
        return step + accumulated * self.compute_s(local_batch)

    def compute_s(self, local_batch: float) -> float:
        """The same without the exchange of gradients; all of it where that is said to take more."""
        step = float(np.interp(local_batch, self.local_batch, self.step_s))
        sync = float(np.interp(local_batch, self.local_batch, self.sync_s))
        return step - sync if sync < step else step


@dataclass(frozen=True, slots=True)
class Training:
    """A job as it was measured. `steps` and `noise` (samples) have the shape (batches, epochs)."""

    name: str
    default_batch: int
    restart_s: float
    times: tuple[StepTimes, ...]
    batches: Array
    steps: Array
    noise: Array

    def steps_at(self, batch: float) -> Array:
        """Optimizer steps of each epoch, between measured batches along a line in logarithms."""
        return np.asarray(np.exp(_between(batch, self.batches, np.log(self.steps))))

    def noise_at(self, batch: float, epoch: int) -> float:
        """φ in samples of one epoch, likewise."""
        return float(np.exp(_between(batch, self.batches, np.log(self.noise)))[epoch])

    def scaled(self, factor: float) -> "Training":
        """The same course, so many times as long."""
        return replace(self, steps=self.steps * factor)


def _between(batch: float, batches: Array, rows: Array) -> Array:
    """Rows at a batch, linear in its logarithm."""
    at, known = np.log(batch), np.log(batches)
    return np.array([np.interp(at, known, column) for column in rows.T])


def candidates(
    machines: Sequence[Machines], default_batch: int, most_batch: int
) -> tuple[Candidate, ...]:
    """From the default batch to the ceiling, √2 apart, each in as few passes as fit."""
    found = set()
    wanted = {default_batch, most_batch}
    level = 1
    while (batch := default_batch * 2 ** (level / _PER_DOUBLING)) < most_batch:
        wanted.add(round(batch))
        level += 1
    for number, one in enumerate(machines):
        for batch in wanted:
            passes = -(-batch // (one.layout.gpus * one.most_local))
            local = batch // (one.layout.gpus * passes)
            total = local * passes * one.layout.gpus
            if local >= one.least_local and default_batch <= total <= most_batch:
                found.add(Candidate(number, local, passes - 1, total))
            elif total < default_batch and local + 1 <= one.most_local:
                total = (local + 1) * passes * one.layout.gpus
                if local + 1 >= one.least_local and total <= most_batch:
                    found.add(Candidate(number, local + 1, passes - 1, total))
    return tuple(sorted(found))


class Replayed(NamedTuple):
    """What became of the job: USD with and without probes, seconds, moves, the last candidate."""

    cost_usd: float
    probing_usd: float
    took_s: float
    moves: int
    probes: int
    last: int

    @property
    def all_in_usd(self) -> float:
        """What was paid for everything."""
        return self.cost_usd + self.probing_usd


def play(training: Training, terms: Terms, past: Past, strategy: Strategy) -> Replayed:
    """The job under a strategy, which sees a time after its probe, and φ after its epoch.

    A probe costs money and no time of the job's: it is made before the start, or beside the job.
    """
    job = _Job(training, terms, past)
    while job.epoch < len(terms.default_steps):
        while isinstance(wish := strategy.decide(job.view()), Probe):
            job.probe(wish)
        job.go(wish.candidate)
        job.run_epoch()
    assert job.on is not None
    return Replayed(job.cost_usd, job.probing_usd, job.took_s, job.moves, job.probes, job.on)


class _Job:
    def __init__(self, training: Training, terms: Terms, past: Past) -> None:
        self._training, self._terms, self._past = training, terms, past
        self._measured: dict[StepAt, Timed] = {}
        self._noise: list[NoiseSeen] = []
        self._steps: dict[int, Array] = {}
        self.on: int | None = None
        self.epoch = self.moved_at = self.moves = self.probes = 0
        self.cost_usd = self.probing_usd = self.took_s = 0.0

    def view(self) -> View:
        deadline_s = self._terms.deadline_s
        left = None if deadline_s is None else deadline_s - self.took_s
        return View(
            self._terms, self._past, self.epoch, left, self.on, self.moved_at,
            tuple(self._measured.values()), tuple(self._noise),
        )  # fmt: skip

    def probe(self, wish: Probe) -> None:
        """Pay, and see."""
        times = self._training.times[wish.machines]
        layout, price = times.machines.layout, times.machines.price_per_hour_usd
        work_s = min(self._work_s(wish.machines, local) for local in wish.local_batches)
        looks_s = PROBE_MIN_S * len(wish.local_batches)
        span_s = self._terms.setup_s + max(looks_s, PROBE_SHARE * work_s)
        self.probing_usd += price * span_s / 3600
        self.probes += 1
        for local in wish.local_batches:
            self._see(StepAt(layout, local), times)

    def _work_s(self, machines: int, local: int) -> float:
        """What is left of the work on these machines, at the batch of one pass."""
        times = self._training.times[machines]
        batch = max(local * times.machines.layout.gpus, self._terms.default_batch)
        steps = self._training.steps_at(min(batch, self._terms.most_batch))
        return float(steps[self.epoch :].sum()) * times.at(local)

    def _see(self, step: StepAt, times: StepTimes) -> None:
        whole = times.at(step.local_batch, step.accumulated)
        alone = None if step.accumulated else times.compute_s(step.local_batch)
        self._measured[step] = Timed(step, whole, alone)

    def go(self, candidate: int) -> None:
        """Start, stay or move."""
        if self.on is None:
            self._pass(candidate, self._terms.setup_s)
        elif candidate != self.on:
            self._pass(candidate, self._terms.move_s(self.on, candidate))
            self.moves += 1
            self.moved_at = self.epoch
        self.on = candidate

    def run_epoch(self) -> None:
        """Work, and see how long a step took, and φ."""
        assert self.on is not None
        one, step = self._terms.candidates[self.on], self._terms.step(self.on)
        times = self._training.times[one.machines]
        if self.on not in self._steps:
            self._steps[self.on] = self._training.steps_at(one.batch)
        steps = float(self._steps[self.on][self.epoch])
        self._pass(self.on, steps * times.at(one.local_batch, one.accumulated))
        self._see(step, times)
        noise = self._training.noise_at(one.batch, self.epoch)
        self._noise.append(NoiseSeen(self.epoch, one.batch, noise))
        self.epoch += 1

    def _pass(self, candidate: int, span_s: float) -> None:
        machines = self._terms.machines[self._terms.candidates[candidate].machines]
        self.took_s += span_s
        self.cost_usd += machines.price_per_hour_usd * span_s / 3600


class Best(NamedTuple):
    """The clairvoyant's course: all epochs before `switch` with `first`, the others with `then`."""

    cost_usd: float
    took_s: float
    first: int
    then: int
    switch: int


def clairvoyant(training: Training, terms: Terms) -> Best:
    """The cheapest course in time with at most one move; the fastest where none is in time."""
    ends_s = np.zeros((len(terms.candidates), len(terms.default_steps) + 1))
    for number, one in enumerate(terms.candidates):
        step_s = training.times[one.machines].at(one.local_batch, one.accumulated)
        ends_s[number, 1:] = np.cumsum(training.steps_at(one.batch)) * step_s
    machines = np.array([one.machines for one in terms.candidates])
    price = np.array([terms.machines[at].price_per_hour_usd for at in machines]) / 3600
    moving = terms.restart_s + terms.setup_s * (machines[:, None] != machines)
    moving[np.diag_indices(len(machines))] = 0.0
    limit = np.inf if terms.deadline_s is None else terms.deadline_s
    found: list[Best] = []
    fastest: list[Best] = []
    for switch in range(1, ends_s.shape[1]):
        before = terms.setup_s + ends_s[:, switch]
        after = moving + (ends_s[:, -1] - ends_s[:, switch])
        took = before[:, None] + after
        cost = (price * before)[:, None] + price * after
        for courses, order in ((found, np.where(took <= limit, cost, np.inf)), (fastest, took)):
            first, then = np.unravel_index(int(order.argmin()), order.shape)
            if np.isfinite(order[first, then]):
                courses.append(
                    Best(float(cost[first, then]), float(took[first, then]), int(first), int(then),
                         switch)
                )  # fmt: skip
    if found:
        return min(found, key=lambda course: course.cost_usd)
    return min(fastest, key=lambda course: course.took_s)
