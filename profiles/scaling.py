"""How much of a job runs in parallel, from its step times on 1, 2, … cores (Amdahl's law)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

GRID = 1000


@dataclass(frozen=True, slots=True)
class CorePoint:
    """The step time on so many cores, with the standard error of its logarithm."""

    cores: int
    step_time_s: float
    sigma_log: float


def parallel_fraction(points: Sequence[CorePoint]) -> float | None:
    """The share f of one core's work that more cores divide: t(c) ∝ (1 - f) + f / c.

    None when fewer than two numbers of cores were measured.
    """
    if len({point.cores for point in points}) < 2:
        return None
    best, chosen = math.inf, 0.0
    for index in range(GRID + 1):
        f = index / GRID
        offsets = [math.log(p.step_time_s) - math.log((1 - f) + f / p.cores) for p in points]
        weights = [1 / (p.sigma_log**2 + 0.01**2) for p in points]
        level = sum(w * o for w, o in zip(weights, offsets, strict=True)) / sum(weights)
        misfit = sum(w * (o - level) ** 2 for w, o in zip(weights, offsets, strict=True))
        if misfit < best:
            best, chosen = misfit, f
    return chosen


def core_counts(available: int) -> list[int]:
    """Numbers of cores worth a look below `available`: halves, down to one."""
    counts = []
    cores = available // 2
    while cores >= 1:
        counts.append(cores)
        cores //= 2
    return counts
