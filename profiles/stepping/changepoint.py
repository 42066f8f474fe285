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
    lag_one,
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
# Above this, steps come in runs that are alike.
IN_RUNS = 0.5
LEAST_WEIGHT = 1e-4
# Neighbours are compared over so much of the window at most: a share of 1 to this.
FARTHEST = 8


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
    in_runs = False
    while True:
        noise = _noise(chosen.step_s)
        in_runs = in_runs or _alikeness(chosen.step_s) > IN_RUNS
        if in_runs:
            # Any run is a pace of its own: only what is outside of them all is a change.
            noise = max(noise, float(np.std(_levelled(chosen.step_s))))
        beliefs = _weigh(chosen, float(counts[-1]), total, noise)
        likeliest = max(beliefs, key=lambda belief: belief.weight)
        correlation = max(likeliest.correlation, _alikeness(chosen.step_s))
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


def _alikeness(values: Array) -> float:
    """Correlation of neighbours towards the end, whichever stretch is taken for settled.

    Steps that come in runs must not have their last run pass for the steady state. A change of
    pace makes neighbours alike too, but not in both of these stretches; nor does a drift.
    """
    return min(lag_one(_levelled(values[-(len(values) // part) :])) for part in (2, 3))


def _levelled(values: Array) -> Array:
    """Without their slope."""
    x = np.arange(len(values)) - (len(values) - 1) / 2
    return np.asarray(values - x * float(x @ values) / max(float(x @ x), 1.0))


def _noise(values: Array) -> float:
    """Spread of a block around its neighbours, near and far: those of one run are alike.

    A slow change does not blow it up: what is compared is each block with those before and after.
    """
    n = len(values)
    least = 1e-4 * float(np.mean(values))
    if n < 3:
        return max(float(np.std(values)), 10 * least)
    lags = [lag for lag in (1, 2, 4, 8) if lag == 1 or FARTHEST * lag <= n]
    return max(least, *(_spread_at(values, lag) for lag in lags))


def _spread_at(values: Array, lag: int) -> float:
    bends = values[: -2 * lag] - 2 * values[lag:-lag] + values[2 * lag :]
    return max(1.4826 * float(np.median(np.abs(bends))), 0.3 * float(np.std(bends))) / math.sqrt(6)
