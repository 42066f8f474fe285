"""The gradient noise scale: what a larger batch is worth, and what φ will be."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbroker.profiles.batch import LrRule
from mlbroker.profiles.goodput import goodput, steps_for
from mlbroker.profiles.noise import (
    NoiseForecast,
    PastNoise,
    Seen,
    efficiency,
    gain,
    lr_scale,
)

NOISE = st.floats(0.01, 1e7)
BATCH = st.integers(1, 10_000)
TIMES = st.floats(1, 1_000)


def test_published_values() -> None:
    # φ = 300 samples at a default batch of 100: 200 samples do what 160 would have done.
    assert efficiency(300, 100, 200) == pytest.approx(0.8)
    assert gain(300, 100, 200) == pytest.approx(1.6)
    assert lr_scale(300, 100, 200, LrRule.ADASCALE) == pytest.approx(1.6)
    assert lr_scale(300, 100, 200, LrRule.SQRT) == pytest.approx(math.sqrt(1.6))
    assert lr_scale(300, 100, 200, LrRule.LINEAR) == 2
    assert lr_scale(300, 100, 200, LrRule.NONE) == 1
    assert goodput(300, 100, 200, 0.5) == pytest.approx(200 * 0.8 / 0.5)
    assert steps_for(1_000, 300, 100, 200) == pytest.approx(625)


@given(NOISE, BATCH, TIMES)
def test_a_step_is_worth_its_samples_by_their_efficiency(
    noise: float, default: int, times: float
) -> None:
    batch = default * times
    worth = gain(noise, default, batch)
    assert worth == pytest.approx(times * efficiency(noise, default, batch), rel=1e-9)
    assert 1 - 1e-9 <= worth <= times * (1 + 1e-9)
    assert efficiency(noise, default, default) == 1


@given(NOISE, BATCH, TIMES, st.floats(1.01, 10))
def test_more_noise_makes_larger_batches_worth_more(
    noise: float, default: int, times: float, more: float
) -> None:
    assert gain(noise * more, default, default * times) >= gain(noise, default, default * times)


HALVES, LEVELS = np.array([0.0, 1.0]), np.array([0.0, 4.0])
RISING = PastNoise(HALVES, LEVELS, np.log([[2.0, 20.0], [8.0, 80.0]]))


def forecast(
    past: tuple[PastNoise, ...], seen: Seen | None, done: float, doublings: float
) -> float:
    mean, _ = NoiseForecast(past, seen).log_noise(np.array([done]), np.array([doublings]))
    return float(np.exp(mean[0, 0]))


def test_before_anything_is_seen_the_past_is_the_forecast() -> None:
    assert forecast((RISING,), None, 1.0, 0.0) == pytest.approx(20)
    assert forecast((RISING,), None, 1.0, 4.0) == pytest.approx(80)
    assert forecast((RISING,), None, 0.5, 2.0) == pytest.approx(math.sqrt(2 * 20) * 2)
    assert forecast((RISING,), None, 2.0, 9.0) == pytest.approx(80), "the last that was seen"


def test_what_was_seen_moves_the_forecast_the_more_the_later() -> None:
    # Ten times the past's φ: at once by half of the logarithm, from a quarter on by all of it.
    early = forecast((RISING,), Seen(0.0, 0.0, 20.0), 1.0, 0.0)
    assert early == pytest.approx(20 * math.sqrt(10))
    quarter = float(np.exp(np.interp(0.25, HALVES, np.log([2.0, 20.0]))))
    late = forecast((RISING,), Seen(0.25, 0.0, 10 * quarter), 1.0, 0.0)
    assert late == pytest.approx(200)


def test_it_is_less_sure_of_what_is_far_off_and_of_jobs_without_a_past() -> None:
    done, level = np.array([0.3, 1.0]), np.array([0.0])
    seen = NoiseForecast((RISING, RISING), Seen(0.3, 0.0, 5.0)).log_noise(done, level)[1]
    blind = NoiseForecast((RISING, RISING), None).log_noise(done, level)[1]
    guess = NoiseForecast((), None).log_noise(done, level)[1]
    assert seen[0] < seen[1] <= blind[1] < guess[1]
