"""Jobs on a virtual clock whose every step time is known: the truth the estimator is held to.

A job is the durations of all its steps and the start-up before them; what decides them is drawn
anew for every run, so that no constant can be tuned to one of them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlbroker.profiles.stepping.stream import StepSeries

Durations = NDArray[np.float64]
Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class SyntheticJob:
    """All step times of one run, and what it really takes."""

    kind: str
    start_up_s: float
    durations: Durations

    @property
    def total_s(self) -> float:
        return self.start_up_s + float(self.durations.sum())

    def seen(self, steps: int) -> StepSeries:
        """What a measurement of the first `steps` sees."""
        ends = self.start_up_s + np.cumsum(self.durations[:steps])
        times = [self.start_up_s, *(float(end) for end in ends)]
        return StepSeries("steps", times, list(range(steps + 1)), len(self.durations))


def _noise(rng: Rng, n: int, spread: float) -> Durations:
    return np.exp(rng.normal(0, spread, n))


def steady(rng: Rng, n: int) -> Durations:
    return _noise(rng, n, rng.uniform(0.01, 0.1))


def slow_waves(rng: Rng, n: int) -> Durations:
    """A machine that others use too: its speed wanders."""
    wander = np.empty(n)
    memory = rng.uniform(0.7, 0.95)
    state = 0.0
    for index, shock in enumerate(rng.normal(0, 0.02, n)):
        state = memory * state + shock
        wander[index] = state
    return np.exp(wander) * _noise(rng, n, 0.03)


def long_warmup(rng: Rng, n: int) -> Durations:
    length = rng.uniform(0.005, 0.015) * n
    slow = 1 + rng.uniform(1, 5) * np.exp(-np.arange(n) / length)
    return slow * _noise(rng, n, rng.uniform(0.02, 0.08))


def periodic_evaluation(rng: Rng, n: int) -> Durations:
    times = _noise(rng, n, rng.uniform(0.02, 0.08))
    every = int(rng.uniform(0.015, 0.045) * n)
    count = len(times[every - 1 :: every])
    times[every - 1 :: every] += rng.uniform(5, 30) * _noise(rng, count, 0.05)
    checkpoints = every * int(rng.integers(1, 3))
    times[checkpoints - 1 :: checkpoints] += rng.uniform(2, 4)
    return times


def heavy_tail(rng: Rng, n: int) -> Durations:
    return _noise(rng, n, rng.uniform(0.5, 0.9))


def drift(rng: Rng, n: int) -> Durations:
    change = rng.uniform(0.05, 0.3) * rng.choice([-1, 1], p=[0.3, 0.7])
    return (1 + change * np.arange(n) / n) * _noise(rng, n, rng.uniform(0.01, 0.04))


def two_phases(rng: Rng, n: int) -> Durations:
    times = _noise(rng, n, rng.uniform(0.02, 0.08))
    change = int(rng.uniform(0.01, 0.06) * n)
    times[:change] *= rng.uniform(0.2, 0.6) if rng.random() < 0.5 else rng.uniform(1.6, 4)
    return times


def bursty_loading(rng: Rng, n: int) -> Durations:
    times = _noise(rng, n, 0.05)
    workers = int(rng.integers(3, 9))
    times[workers - 1 :: workers] += rng.uniform(1, 6) * _noise(
        rng, len(times[workers - 1 :: workers]), 0.3
    )
    stalls = rng.random(n) < 0.01
    times[stalls] += rng.uniform(2, 6, stalls.sum())
    return times


def length_buckets(rng: Rng, n: int) -> Durations:
    """Batches of four lengths, in any order."""
    return rng.choice(rng.uniform(0.5, 3, 4), n) * _noise(rng, n, 0.03)


def alike_runs(rng: Rng, n: int) -> Durations:
    """Batches sorted into buckets: some in a row are alike, and a few lengths are far longer."""
    row = int(rng.integers(3, 9))
    rows = np.exp(rng.normal(0, rng.uniform(0.4, 0.9), -(-n // row)))
    return np.repeat(rows, row)[:n] * _noise(rng, n, 0.03)


def levelling_drift(rng: Rng, n: int) -> Durations:
    """A drift that does not go on as it began."""
    change = rng.uniform(0.05, 0.3) * (1 - np.exp(-np.arange(n) / n * rng.uniform(1, 3)))
    return (1 + change) * _noise(rng, n, rng.uniform(0.01, 0.05))


def endless_warmup(rng: Rng, n: int) -> Durations:
    """One that fades ever more slowly."""
    slow = 1 + rng.uniform(1, 4) / (1 + np.arange(n) / rng.uniform(1, 6))
    return slow * _noise(rng, n, 0.04)


def pauses(rng: Rng, n: int) -> Durations:
    """Now and then something else runs, for no fixed time."""
    times = _noise(rng, n, 0.05)
    paused = rng.random(n) < 0.03
    times[paused] += rng.exponential(2, paused.sum())
    return times


KINDS: dict[str, Callable[[Rng, int], Durations]] = {
    "steady": steady,
    "slow waves": slow_waves,
    "long warm-up": long_warmup,
    "periodic evaluation": periodic_evaluation,
    "heavy tail": heavy_tail,
    "drift": drift,
    "two phases": two_phases,
    "bursty loading": bursty_loading,
    "length buckets": length_buckets,
    "alike runs": alike_runs,
    "levelling drift": levelling_drift,
    "endless warm-up": endless_warmup,
    "pauses": pauses,
}
STEADY = ("steady", "slow waves")


def limit(kind: str) -> float:
    """The error allowed: of a few dozen rows the first tenth tells little, of steady steps most."""
    return 0.05 if kind in STEADY else 0.3 if kind == "alike runs" else 0.10


def draw(kind: str, seed: int, least: int = 1000, most: int = 10_000) -> SyntheticJob:
    """A run of this kind: of so many steps, of so many seconds each, all drawn."""
    rng = np.random.default_rng([seed, *kind.encode()])
    n = int(np.exp(rng.uniform(np.log(least), np.log(most))))
    unit = float(np.exp(rng.uniform(np.log(0.002), np.log(2))))
    return SyntheticJob(kind, unit * rng.uniform(1, 50), unit * KINDS[kind](rng, n))
