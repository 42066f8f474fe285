"""Finds the work that comes back every so many steps: evaluation, checkpoints, epoch ends."""

import math
from dataclasses import dataclass

import numpy as np

from mlbroker.profiles.arrays import Array

# A step counts as an extra when it exceeds the usual one by this many spreads and shares of it.
SPREADS = 6.0
SHARE = 0.8
# With more extras than this share of all steps there is nothing usual to exceed.
MOST_EXTRAS = 0.45
MAX_KINDS = 3
MAX_CANDIDATES = 40
# A pattern is believed when chance would make one like it this seldom.
CHANCE = 0.02
# Of the places where a pattern says there is an extra, so many must have one.
KEPT = 0.9
# Extras of one kind are within this factor of their median, and most of a pattern's are.
ALIKE = 2.5
MOST_ALIKE = 0.6
# The uncertainty of a single look: of its cost, and of how often it comes.
ONE_COST = 0.05
ONE_RHYTHM = 0.35


@dataclass(frozen=True, slots=True)
class Period:
    """Every `every` steps, first after step `first`, the job takes `extra_s` more."""

    every: int
    first: int
    extra_s: float
    extra_sd_s: float
    seen: int
    sure: bool

    def remaining(self, after: int, total: int) -> int:
        """How often it will come after step `after`, up to and including the last."""
        return max(0, (total - self.first) // self.every - (after - self.first) // self.every)


@dataclass(frozen=True, slots=True)
class Extras:
    """Periodic work, the other extras, and the times without any of them, both (E - 1,)."""

    periods: tuple[Period, ...]
    plain_s: Array
    odd_s: Array


def split(times_s: Array, counts: Array) -> Extras:
    """Split each interval between events (E,) into plain stepping, periodic work and odd extras."""
    durations, steps = np.diff(times_s), np.diff(counts)
    excess = _excess(durations, steps)
    extras = excess > 0
    plain = durations - excess
    if not 0 < np.count_nonzero(extras) <= MOST_EXTRAS * len(durations):
        return Extras((), durations, np.zeros_like(durations))
    ends = counts[1:].astype(int)
    left = excess.copy()
    periods: list[Period] = []
    while len(periods) < MAX_KINDS:
        period = _best_period(ends, steps, left)
        if period is None:
            break
        periods.append(period)
        hit = _hits(period.every, period.first, ends, steps, left)
        # What is of this kind is spent; on top of it there may be one of another kind.
        alike = _alike(left[hit])
        left[hit] = np.where(alike, 0.0, np.maximum(0.0, left[hit] - period.extra_s))
    return Extras(tuple(periods), plain, left)


def _excess(durations: Array, steps: Array) -> Array:
    """Seconds (E - 1,) beyond the usual, which follows a change of pace; 0 for usual steps."""
    per_step = durations / steps
    usual = _running_median(per_step)
    spread = 1.4826 * np.median(np.abs(per_step - usual))
    over = durations - usual * steps
    threshold = np.maximum(SPREADS * spread, SHARE * usual) * np.sqrt(steps)
    excess = np.where(over > threshold, over, 0.0)
    # Slow steps at the very start are the warm-up's.
    usual_steps = np.flatnonzero(excess == 0)
    gaps = np.flatnonzero(np.diff(usual_steps) == 1)
    excess[: usual_steps[gaps[0]] if len(gaps) else 0] = 0.0
    return excess


def _running_median(values: Array) -> Array:
    """The median of the neighbourhood, an eighth of all at least nine wide."""
    half = max(4, len(values) // 16)
    if len(values) <= 2 * half + 1:
        return np.full_like(values, np.median(values))
    windows = np.lib.stride_tricks.sliding_window_view(values, 2 * half + 1)
    medians = np.median(windows, axis=1)
    return np.concatenate(
        [np.full(half, medians[0]), medians, np.full(half, medians[-1])],
    )


def _best_period(ends: Array, steps: Array, excess: Array) -> Period | None:
    at = np.flatnonzero(excess > 0)
    if len(at) == 0:
        return None
    if len(at) == 1:
        return _single(int(ends[at[0]]), float(excess[at[0]]), ends)
    places = [int(end) for end in ends[at[:MAX_CANDIDATES]]]
    candidates = {
        (later - p, p % (later - p)) for i, p in enumerate(places) for later in places[i + 1 :]
    }
    candidates |= {(p, 0) for p in places}
    density = len(at) / len(ends)
    best: tuple[int, int, int] | None = None
    for every, phase in candidates:
        if every < 2:
            continue
        expected = _expected(every, phase, ends, steps)
        hit = _hits(every, phase, ends, steps, excess)
        if len(hit) < 2 or len(hit) < KEPT * expected:
            continue
        if np.mean(_alike(excess[hit])) < MOST_ALIKE:
            continue
        aligned = min(phase, every - phase) <= 1
        chance = (
            len(candidates) * density ** (len(hit) - 1) * (min(1.0, 3 / every) if aligned else 1)
        )
        if chance < CHANCE and (best is None or len(hit) > best[0]):
            best = (len(hit), every, phase)
    if best is None:
        return None
    hit = _hits(best[1], best[2], ends, steps, excess)
    costs = excess[hit]
    costs = costs[_alike(costs)]
    mean, sd = _alternating_mean(costs)
    return Period(best[1], best[2], mean, sd, len(costs), True)


def _alternating_mean(costs: Array) -> tuple[float, float]:
    """Mean and its standard error, where two kinds may take turns: every other evaluation may come
    with a checkpoint. So neighbours are averaged, and only every other cost is compared.
    """
    n = len(costs)
    weights = np.ones(n)
    weights[[0, -1]] = 0.5
    weights /= n - 1
    mean = float(weights @ costs)
    apart = min(2, n - 1)
    squares = float(np.sum((costs[apart:] - costs[:-apart]) ** 2)) / 2
    # One prior look keeps the spread of two or three honest.
    variance = (squares + (ONE_COST * mean) ** 2) / (n - apart + 1)
    return mean, math.sqrt(variance * float(weights @ weights))


def _alike(sizes: Array) -> Array:
    middle = np.median(sizes)
    return np.asarray((sizes <= ALIKE * middle) & (sizes >= middle / ALIKE))


def _single(place: int, excess_s: float, ends: Array) -> Period | None:
    """One extra alone: most are the first of many, at every multiple of their place."""
    if place * 2 <= ends[-1]:
        return None
    return Period(place, 0, excess_s, ONE_RHYTHM * excess_s, 1, False)


def _expected(every: int, phase: int, ends: Array, steps: Array) -> int:
    """How many places of the pattern were passed."""
    before = int(ends[0] - steps[0])
    return int((ends[-1] - phase) // every - (before - phase) // every)


def _hits(every: int, phase: int, ends: Array, steps: Array, excess: Array) -> Array:
    """Indices of the intervals with an extra in which a place of the pattern lies."""
    inside = (ends - phase) // every > (ends - steps.astype(int) - phase) // every
    return np.flatnonzero(inside & (excess > 0))
