"""The parallel fraction from step times on 1, 2, … cores."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbroker.profiles.scaling import CorePoint, core_counts, parallel_fraction


@given(st.floats(0, 1), st.floats(1e-4, 100))
def test_amdahls_law_is_read_back(fraction: float, one_core_s: float) -> None:
    points = [
        CorePoint(c, one_core_s * ((1 - fraction) + fraction / c), 0.01) for c in (8, 4, 2, 1)
    ]
    assert parallel_fraction(points) == pytest.approx(fraction, abs=0.002)


def test_a_job_that_more_cores_slow_down_is_sequential() -> None:
    assert parallel_fraction([CorePoint(1, 1.0, 0.01), CorePoint(2, 1.5, 0.01)]) == 0


def test_one_number_of_cores_tells_nothing() -> None:
    assert parallel_fraction([CorePoint(2, 1.0, 0.01), CorePoint(2, 1.1, 0.01)]) is None


@pytest.mark.parametrize(
    ("available", "tried"), [(1, []), (2, [1]), (6, [3, 1]), (16, [8, 4, 2, 1])]
)
def test_halves_are_tried_down_to_one(available: int, tried: list[int]) -> None:
    assert core_counts(available) == tried
