"""Where the warm-up ends and whether the pace drifts: every answer, weighed by its evidence."""

import math
from dataclasses import dataclass, replace

import numpy as np

from mlbroker.profiles.arrays import Array
from mlbroker.profiles.stepping.pace_models import (
    FADES,
    MIN_CORRELATED,
    PaceBelief,
    PaceWindow,
    drift,
    fade,
    inflation,
    level,
)

MAX_BLOCKS = 64
MIN_SETTLED = MIN_CORRELATED
# A change of pace is not read off less than this share of what was seen, a drift not off fewer
# blocks.
TREND_SEEN = 0.5
DRIFT_BLOCKS = 16
# Correlation of neighbouring blocks above which blocks are joined, and the least to join.
CORRELATED = 0.3
JOINABLE = 24
LEAST_WEIGHT = 1e-4


@dataclass(frozen=True, slots=True)
class Blocks:
    """Means of neighbouring steps: `step_s[i]` per step around step `centre[i]`, all (B,)."""

    step_s: Array
    centre: Array
    size: float
    first_step: Array


def blocks(plain_s: Array, counts: Array, most: int = MAX_BLOCKS) -> Blocks:
    """Blocks of equal numbers of intervals (E - 1,); what is left over goes to the first."""
    size = -(-len(plain_s) // most)
    edges = np.arange(len(plain_s) % size, len(plain_s) + 1, size)
    edges[0] = 0
    if len(edges) < 2:
        edges = np.array([0, len(plain_s)])
    elapsed = np.concatenate([[0.0], np.cumsum(plain_s)])[edges]
    steps = counts[edges].astype(float)
    return Blocks(
        np.diff(elapsed) / np.diff(steps),
        (steps[1:] + steps[:-1]) / 2,
        float(np.median(np.diff(steps))),
        counts[edges[:-1]],
    )


def weigh_pace_models(
    plain_s: Array, counts: Array, total: int | None
) -> tuple[Blocks, list[PaceBelief]]:
    """Beliefs about the pace of the steps that are still to come, weights adding up to 1."""
    chosen = blocks(plain_s, counts)
    while True:
        noise = _noise(chosen.step_s)
        beliefs = _weigh(chosen, float(counts[-1]), total, noise)
        correlation = max(beliefs, key=lambda belief: belief.weight).correlation
        if correlation <= CORRELATED or len(chosen.step_s) < JOINABLE:
            break
        chosen = blocks(plain_s, counts, len(chosen.step_s) // 2)
    if correlation > 0:
        # Neighbours that are alike make waves, which look like a change of pace.
        each = inflation(correlation)
        noise *= math.sqrt(each * (each + 1) / 2)
        beliefs = _weigh(chosen, float(counts[-1]), total, noise)
    return chosen, beliefs


def _weigh(b: Blocks, done: float, total: int | None, noise: float) -> list[PaceBelief]:
    values = b.step_s
    n = len(values)
    price = math.log(max(n, 2))
    scores: list[tuple[float, PaceBelief]] = []
    for start in range(max(1, n - MIN_SETTLED + 1)):
        rest = values[start:]
        misfit = float(np.sum((rest - rest.mean()) ** 2)) / noise**2
        # What lies before is either a pace of its own, or a level for each block of it.
        before = values[:start]
        prefix = min(_cost_of_level(before, noise) + price, start * price) if start else 0.0
        score = -(misfit + prefix) / 2
        scores.append((score, level(rest, start)))
        if total is None or total <= done or len(rest) < max(TREND_SEEN * n, MIN_SETTLED):
            continue
        seen = PaceWindow(start, rest, b.centre[start:], noise, done, total)
        if len(rest) >= DRIFT_BLOCKS:
            scores.append(drift(seen, score))
        scores += [s for shape in FADES if (s := fade(seen, shape, -prefix / 2)) is not None]
    best = max(score for score, _ in scores)
    weights = [math.exp(max(score - best, -700.0)) for score, _ in scores]
    whole = sum(weights)
    return [
        replace(belief, weight=weight / whole)
        for weight, (_, belief) in zip(weights, scores, strict=True)
        if weight / whole > LEAST_WEIGHT
    ]


def _cost_of_level(values: Array, noise: float) -> float:
    """Of a stretch with a pace of its own, which could have been anything of the usual order."""
    mean = float(values.mean())
    occam = 2 * math.log(max(2.0, mean * math.sqrt(len(values)) / noise))
    return float(np.sum((values - mean) ** 2)) / noise**2 + occam


def _noise(values: Array) -> float:
    """Spread of a block around its neighbours, which a slow change does not blow up."""
    if len(values) < 3:
        return max(float(np.std(values)), 1e-3 * float(np.mean(values)))
    jumps = np.diff(values)
    spread = 1.4826 * float(np.median(np.abs(jumps))) / math.sqrt(2)
    return max(spread, 0.3 * float(np.std(jumps)) / math.sqrt(2), 1e-4 * float(np.mean(values)))
