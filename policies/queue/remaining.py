"""What is left of a job that runs, from a prediction of the whole and how long it has run."""

import math
from functools import lru_cache
from statistics import NormalDist

_NORMAL = NormalDist()
_STEPS_PER_WHOLE = 64
_WHOLES = 8
_LEAST_SIGMA = 0.02
_Z90 = _NORMAL.inv_cdf(0.9)


def sigma_of(median_h: float, p90_h: float) -> float:
    """Of the logarithm of a log-normal time with this median and 90th percentile."""
    return math.log(p90_h / median_h) / _Z90 if 0 < median_h < p90_h else 0.0


def remaining_h(predicted_h: float, attained_h: float, sigma: float) -> tuple[float, float]:
    """Median and 90th percentile of the hours left.

    The whole is log-normal about the prediction with `sigma` of its logarithm, and known to be
    longer than what has been run: a job that outlives its prediction is not about to end.
    """
    if predicted_h <= 0:
        return 0.0, 0.0
    table = _table(max(round(sigma, 2), _LEAST_SIGMA))
    at = attained_h / predicted_h * _STEPS_PER_WHOLE
    number = int(at)
    if number >= len(table) - 1:
        median, p90 = table[-1]
        grown = at / (len(table) - 1)  # from here on the rest grows with the age
        return predicted_h * median * grown, predicted_h * p90 * grown
    share = at - number
    (low, low90), (high, high90) = table[number], table[number + 1]
    return (
        predicted_h * (low + share * (high - low)),
        predicted_h * (low90 + share * (high90 - low90)),
    )


@lru_cache(maxsize=256)
def _table(sigma: float) -> list[tuple[float, float]]:
    """By run time: median and 90th percentile of the rest; all as shares of the prediction."""
    rows: list[tuple[float, float]] = []
    for step in range(_STEPS_PER_WHOLE * _WHOLES + 1):
        run = step / _STEPS_PER_WHOLE
        outlived = 1 - _NORMAL.cdf(math.log(run) / sigma) if run else 1.0
        if outlived < 1e-12:
            rows.append(rows[-1])
            continue
        rows.append((_quantile(0.5, outlived, sigma) - run, _quantile(0.1, outlived, sigma) - run))
    return rows


def _quantile(above: float, outlived: float, sigma: float) -> float:
    """The whole that a share `above` of those that have outlived so much outlives."""
    return math.exp(-sigma * _NORMAL.inv_cdf(above * outlived))
