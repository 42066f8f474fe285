"""What is left of a job that runs, held against draws."""

import numpy as np
import pytest

from mlbroker.policies.queue.remaining import remaining_h, sigma_of


@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.8])
@pytest.mark.parametrize("attained", [0.0, 0.5, 1.0, 1.3])
def test_it_is_what_those_have_left_that_ran_so_long(sigma: float, attained: float) -> None:
    whole = 2 * np.exp(sigma * np.random.default_rng(1).standard_normal(2_000_000))
    left = whole[whole > 2 * attained] - 2 * attained
    median, p90 = remaining_h(2.0, 2 * attained, sigma)
    few = 0.01 if len(left) > 10_000 else 0.1
    assert median == pytest.approx(float(np.median(left)), rel=few, abs=0.003)
    assert p90 == pytest.approx(float(np.quantile(left, 0.9)), rel=few, abs=0.006)


@pytest.mark.parametrize("sigma", [0.0, 0.3, 1.5, 4.0])
def test_something_is_always_left(sigma: float) -> None:
    for attained in (0.0, 0.99, 1.0, 1.5, 7.99, 8.0, 50.0, 1e6):
        median, p90 = remaining_h(1.0, attained, sigma)
        assert 0 < median <= p90 < float("inf")


def test_the_width_is_that_of_its_percentiles() -> None:
    for p90_h in (3.0, 5.0):
        median, p90 = remaining_h(2.0, 0.0, sigma_of(2.0, p90_h))
        assert (median, p90) == (pytest.approx(2), pytest.approx(p90_h, rel=0.01))
    assert sigma_of(2.0, 2.0) == sigma_of(0.0, 1.0) == sigma_of(2.0, 1.0) == 0
