"""Where the warm-up ends and whether the pace drifts: every answer, weighed by its evidence."""

import math
from dataclasses import dataclass

import numpy as np

from mlbroker.profiles.arrays import Array

MAX_BLOCKS = 64
MIN_SETTLED = 6
# Before any evidence: how often a job's pace drifts, and by how much over the whole run (sd).
DRIFT_ODDS = 0.15
DRIFT_SD = 0.25
# A trend is not read off less than this share of what was seen, nor off fewer blocks.
DRIFT_SEEN = 0.5
DRIFT_BLOCKS = 16
# A warm-up that fades to the end of the window: by 1/e every such share of it, so often, so high.
DECAYS = (0.1, 0.2, 0.4)
FADE_ODDS = 0.1
FADE_SD = 1.0
# No trend ends below this share of the pace seen.
LEAST_PACE = 0.2
# Correlation of neighbouring blocks above which blocks are joined, and the least to join.
CORRELATED = 0.3
JOINABLE = 24


@dataclass(frozen=True, slots=True)
class Blocks:
    """Means of neighbouring steps: `step_s[i]` per step around step `centre[i]`."""

    step_s: Array
    centre: Array
    size: float
    first_step: Array


@dataclass(frozen=True, slots=True)
class Belief:
    """A possible answer: settled from block `start` on, with this pace over the steps to come.

    `sd_s` is the uncertainty of that, `level_sd_s` the one of the pace as it is now.
    """

    weight: float
    start: int
    pace_s: float
    sd_s: float
    level_sd_s: float
    drift: bool
    freedom: int


def blocks(plain_s: Array, counts: Array, most: int = MAX_BLOCKS) -> Blocks:
    """Blocks of equal numbers of events; what is left over goes to the first."""
    size = -(-len(plain_s) // most)
    edges = np.arange(len(plain_s) % size, len(plain_s) + 1, size)
    if edges[0] != 0:
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


def settle(plain_s: Array, counts: Array, total: int | None) -> tuple[Blocks, list[Belief]]:
    """Beliefs about the pace of the steps that are still to come, weights adding up to 1."""
    chosen = blocks(plain_s, counts)
    while True:
        beliefs, correlation = _weigh(chosen, float(counts[-1]), total)
        if correlation <= CORRELATED or len(chosen.step_s) < JOINABLE:
            return chosen, beliefs
        chosen = blocks(plain_s, counts, len(chosen.step_s) // 2)


def _weigh(b: Blocks, done: float, total: int | None) -> tuple[list[Belief], float]:
    values = b.step_s
    n = len(values)
    noise = _noise(values)
    price = math.log(max(n, 2))
    scores: list[tuple[float, Belief]] = []
    for start in range(max(1, n - MIN_SETTLED + 1)):
        rest = values[start:]
        misfit = float(np.sum((rest - rest.mean()) ** 2)) / noise**2
        # What lies before is either a pace of its own, or a level for each block of it.
        before = values[:start]
        prefix = min(_cost_of_level(before, noise) + price, start * price) if start else 0.0
        score = -(misfit + prefix) / 2
        scores.append((score, _level(rest, start)))
        if total is not None and len(rest) >= MIN_SETTLED:
            if len(rest) >= max(DRIFT_SEEN * n, DRIFT_BLOCKS):
                scores.append(_drift(b, start, noise, done, total, score))
            scores += [_decay(b, start, noise, done, total, share, -prefix / 2) for share in DECAYS]
    best = max(score for score, _ in scores)
    weights = [math.exp(max(score - best, -700.0)) for score, _ in scores]
    whole = sum(weights)
    beliefs = [
        Belief(w / whole, x.start, x.pace_s, x.sd_s, x.level_sd_s, x.drift, x.freedom)
        for w, (_, x) in zip(weights, scores, strict=True)
        if w / whole > 1e-4
    ]
    likeliest = max(beliefs, key=lambda belief: belief.weight)
    rest = values[likeliest.start :]
    if likeliest.drift:
        x = b.centre[likeliest.start :]
        rest = rest - np.polyval(np.polyfit(x, rest, 1), x)
    return beliefs, _lag_one(rest)


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


def _level(rest: Array, start: int) -> Belief:
    n = len(rest)
    variance = float(np.var(rest, ddof=1)) if n > 1 else float(rest[0]) ** 2
    rho = min(0.6, max(0.0, _lag_one(rest)))
    sd = math.sqrt(variance / n * (1 + rho) / (1 - rho))
    return Belief(0.0, start, float(rest.mean()), sd, sd, False, max(1, n - 1))


def _drift(
    b: Blocks, start: int, noise: float, done: float, total: int, level_score: float
) -> tuple[float, Belief]:
    """The same settled part with a linear drift, shrunk towards none by what drifts usually are."""
    rest, x = b.step_s[start:], b.centre[start:]
    mean, middle = float(rest.mean()), float(x.mean())
    moment = float(np.sum((x - middle) ** 2))
    slope = float(np.sum((x - middle) * (rest - mean))) / moment
    left = rest - mean - slope * (x - middle)
    sd_level = max(noise, math.sqrt(float(np.sum(left**2)) / max(1, len(rest) - 2)))
    variance = sd_level**2 / moment
    prior = (DRIFT_SD * mean / total) ** 2
    shrunk = slope * prior / (prior + variance)
    variance_after = prior * variance / (prior + variance)
    fit = 0.5 * slope**2 / variance
    evidence = fit * prior / (prior + variance) - 0.5 * math.log1p(prior / variance)
    ahead = (done + total) / 2 - middle
    rho = min(0.6, max(0.0, _lag_one(left)))
    level_sd = math.sqrt(sd_level**2 / len(rest) * (1 + rho) / (1 - rho))
    sd = math.hypot(level_sd, math.sqrt(variance_after) * ahead)
    pace = max(mean + shrunk * ahead, LEAST_PACE * mean)
    score = level_score + math.log(DRIFT_ODDS) + evidence
    return score, Belief(0.0, start, pace, sd, level_sd, True, max(1, len(rest) - 2))


def _decay(
    b: Blocks, start: int, noise: float, done: float, total: int, share: float, prefix_score: float
) -> tuple[float, Belief]:
    """A warm-up that still fades: a level and what is above it, gone by 1/e every `share`."""
    rest, x = b.step_s[start:], b.centre[start:]
    scale = share * (x[-1] - x[0])
    above = np.exp(-(x - x[0]) / scale)
    mean = float(rest.mean())
    design = np.column_stack([np.ones_like(above), above])
    # The height is somewhere around the pace itself; the level is free.
    precision = design.T @ design / noise**2 + np.diag([0.0, 1 / (FADE_SD * mean) ** 2])
    covariance = np.linalg.inv(precision)
    fit = covariance @ (design.T @ rest) / noise**2
    if fit[1] <= 0:
        return -math.inf, Belief(0.0, start, mean, 0.0, 0.0, False, 1)
    left = rest - design @ fit
    occam = math.log(FADE_SD * mean / math.sqrt(covariance[1, 1]))
    score = prefix_score - 0.5 * float(np.sum(left**2)) / noise**2 - occam + math.log(FADE_ODDS)
    # The mean of what is still above the level over the steps to come.
    tail = scale / (total - done) * math.exp(-(done - x[0]) / scale) if total > done else 0.0
    weights = np.array([1.0, tail])
    n = len(rest)
    ratio = float(np.sum(left**2)) / max(1, n - 2) / noise**2
    sd = math.sqrt(float(weights @ covariance @ weights) * max(1.0, ratio))
    pace = max(float(weights @ fit), LEAST_PACE * mean)
    return score, Belief(0.0, start, pace, sd, sd, False, max(1, n - 2))


def _lag_one(values: Array) -> float:
    """Correlation of neighbours, corrected for the bias of short series."""
    n = len(values)
    if n < MIN_SETTLED:
        return 0.0
    centred = values - values.mean()
    power = float(np.sum(centred**2))
    if power == 0:
        return 0.0
    r = float(np.sum(centred[1:] * centred[:-1])) / power
    return r + (1 + 3 * r) / n
