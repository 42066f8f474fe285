"""What a month will have cost when it is over, with an interval.

The days to come cost what days cost before, those of the last weeks above all, weekends by
themselves. What the sum may be off by has two parts, as for any mean that is carried forward: how
much days differ, and how well so few of them tell the mean. Dear days come together, which is seen
in sums over several days. The sum is taken as log-normal, with Student's t for the few days.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

# Samples of what the month comes to.
DRAWS = 4000
# A day weighs half as much as one that is so many days younger.
HALF_LIFE_DAYS = 28.0
# Sums over so many days tell how much they come together.
BLOCK_DAYS = 5
# What is taken to be so before anything is seen, with the weight of so many days: days differ by as
# much as they cost, and their sums by thrice what they would if each were for itself.
PRIOR_DAYS = 5.0
PRIOR_TOGETHER = 3.0
# With fewer days of its kind (weekday or weekend) all are of one kind.
_ENOUGH = 4


@dataclass(frozen=True, slots=True)
class Spread:
    """The 10th, 50th and 90th percentile of what something comes to, in USD."""

    p10: float
    p50: float
    p90: float


@dataclass(frozen=True, slots=True)
class SpendHistory:
    """What was spent on each day from `first` on, up to the day before `today`, and the share of
    `today` that is `left`. Days count by when a run was reserved.
    """

    first: date
    usd: Sequence[float]
    today: date
    left: float


def month_total(
    history: SpendHistory, so_far_usd: float, open_runs: Sequence[Spread], seed: int = 0
) -> Spread | None:
    """What the month of `today` comes to: what was spent in it `so_far_usd` by settled runs, what
    open runs cost in all, and what is yet to be started. None where there is no day to judge by.
    """
    import numpy as np

    if not history.usd:
        return None
    random = np.random.default_rng(seed)
    total = np.full(DRAWS, float(so_far_usd))
    for spread in open_runs:
        at = random.uniform(size=DRAWS)
        total += np.interp(at, (0.1, 0.5, 0.9), (spread.p10, spread.p50, spread.p90))
    rest = _rest(history)
    if rest is not None:
        mean, sd, freedom = rest
        width = math.sqrt(math.log1p((sd / mean) ** 2))
        total += mean * np.exp(width * random.standard_t(freedom, size=DRAWS) - width**2 / 2)
    return Spread(*(float(usd) for usd in np.quantile(total, (0.1, 0.5, 0.9))))


def _rest(history: SpendHistory) -> tuple[float, float, float] | None:
    """Mean and standard deviation of what the rest of the month costs, and Student's degrees of
    freedom; None where nothing is to come."""
    import numpy as np

    days = len(history.usd)
    spent = np.asarray(history.usd, dtype=float)
    weekend = np.array([_is_weekend(history.first + timedelta(n)) for n in range(days)])
    weights = 0.5 ** (np.arange(days, 0, -1) / HALF_LIFE_DAYS)
    # By how much weekends differ: every day as if it were an ordinary one.
    usual = {False: 1.0, True: 1.0}
    overall = float(np.average(spent, weights=weights))
    if min(weekend.sum(), days - weekend.sum()) >= _ENOUGH and overall > 0:
        for kind in usual:
            alike = weekend == kind
            usual[kind] = float(np.average(spent[alike], weights=weights[alike])) / overall
    level = np.where(weekend, usual[True], usual[False])
    known = level > 0
    plain, weights = spent[known] / level[known], weights[known]
    coming = [(day, 1.0) for day in _days_left(history.today)] + [(history.today, history.left)]
    worth = sum(share * usual[_is_weekend(day)] for day, share in coming)
    mean = float(np.average(plain, weights=weights)) if known.any() else 0.0
    if mean <= 0 or worth <= 0:
        return None
    seen = float(weights.sum() ** 2 / (weights**2).sum())
    squares = float(np.average((plain - mean) ** 2, weights=weights))
    variance = (seen * squares + PRIOR_DAYS * mean**2) / (seen + PRIOR_DAYS)
    together = _together(plain)
    freedom = max(2.0, (seen + PRIOR_DAYS) / together)
    return mean * worth, math.sqrt(variance * together * (worth + worth**2 / seen)), freedom


def _together(values: "NDArray[float64]") -> float:
    """By how much the variance of a sum over days exceeds that of as many independent ones."""
    blocks = len(values) // BLOCK_DAYS
    found, weight = PRIOR_TOGETHER, 0.0
    if blocks >= 2 and values.var() > 0:
        sums = values[-blocks * BLOCK_DAYS :].reshape(blocks, BLOCK_DAYS).sum(axis=1)
        found, weight = float(sums.var(ddof=1) / (BLOCK_DAYS * values.var(ddof=1))), float(blocks)
    shrunk = (weight * found + PRIOR_DAYS * PRIOR_TOGETHER) / (weight + PRIOR_DAYS)
    return max(1.0, shrunk)


def _days_left(today: date) -> list[date]:
    """Whole days of its month after today."""
    after = (today + timedelta(n) for n in range(1, 32))
    return [day for day in after if (day.year, day.month) == (today.year, today.month)]


def _is_weekend(day: date) -> bool:
    return day.weekday() >= 5
