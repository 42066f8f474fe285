"""The duration's distribution: against simulation, and as properties."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbroker.policies.outcome import Outcome, normal_quantile

outcomes = st.builds(
    Outcome,
    work_median_s=st.floats(1, 1e6),
    sigma_log=st.floats(0.01, 1.5),
    fixed_s=st.floats(0, 1e4),
    interruptions_per_s=st.floats(0, 1e-5),
    loss_s=st.floats(1, 3600),
)


@pytest.mark.parametrize(("p", "z"), [(0.5, 0.0), (0.9, 1.2815516), (0.1, -1.2815516)])
def test_normal_quantile(p: float, z: float) -> None:
    assert normal_quantile(p) == pytest.approx(z, abs=1e-6)


def test_without_interruptions_it_is_a_shifted_lognormal() -> None:
    outcome = Outcome(work_median_s=1000, sigma_log=0.5, fixed_s=100)
    assert outcome.quantile_s(0.5) == pytest.approx(1100)
    assert outcome.undisturbed_s == pytest.approx(100 + 1000 * 2.718281828 ** (0.5**2 / 2))
    assert outcome.probability_within(1100) == pytest.approx(0.5)
    assert outcome.probability_within(99) == 0.0


def test_against_simulation_with_interruptions() -> None:
    outcome = Outcome(3600, 0.2, 200, interruptions_per_s=1 / 7200, loss_s=400)
    source = random.Random(7)
    times = []
    for _ in range(20_000):
        work = 200 + 3600 * source.lognormvariate(0, 0.2)
        # Interruptions also hit the time lost to earlier ones.
        left, total = work, 0.0
        while (life := source.expovariate(1 / 7200)) < left:
            total += life
            left = left - life + 400
        times.append(total + left)
    times.sort()
    mean = sum(times) / len(times)
    assert outcome.expected_s == pytest.approx(mean, rel=0.03)
    for probability in (0.5, 0.9):
        simulated = times[int(probability * len(times))]
        assert outcome.quantile_s(probability) == pytest.approx(simulated, rel=0.05)


def test_a_certain_duration_is_over_when_it_is_over() -> None:
    outcome = Outcome(100, 0.0, 10)
    assert outcome.probability_within(109.9) == 0.0
    assert outcome.probability_within(110.1) == 1.0


@given(outcomes, st.floats(0.01, 0.99))
def test_quantile_and_probability_agree(outcome: Outcome, probability: float) -> None:
    at = outcome.quantile_s(probability)
    assert outcome.probability_within(at * (1 + 1e-6)) >= probability - 1e-6
    assert outcome.reaches(at * 1.001, probability)


@given(outcomes, st.floats(0, 1e7), st.floats(0, 1e7))
def test_more_time_never_lowers_the_chance(outcome: Outcome, a: float, b: float) -> None:
    a, b = sorted((a, b))
    assert outcome.probability_within(a) <= outcome.probability_within(b) + 1e-9
    assert 0 <= outcome.probability_within(b) <= 1 + 1e-9


@given(outcomes)
def test_interruptions_only_add(outcome: Outcome) -> None:
    calm = Outcome(outcome.work_median_s, outcome.sigma_log, outcome.fixed_s)
    assert outcome.expected_s >= calm.expected_s
    assert outcome.quantile_s(0.9) >= calm.quantile_s(0.9) * (1 - 1e-9)


@pytest.mark.parametrize("sigma_log", [0.0, 0.2, 0.8])
def test_what_goes_beyond_a_limit_is_the_mean_without_one(sigma_log: float) -> None:
    outcome = Outcome(1000, sigma_log, 100)
    assert outcome.mean_beyond_s(1e-9) == pytest.approx(outcome.work_mean_s)
    assert outcome.mean_beyond_s(1e9) == pytest.approx(0, abs=1e-6)
    source = random.Random(3)
    works = [1000 * source.lognormvariate(0, sigma_log) for _ in range(40_000)]
    simulated = sum(max(0.0, work - 1200) for work in works) / len(works)
    assert outcome.mean_beyond_s(1200) == pytest.approx(simulated, rel=0.06, abs=1e-9)
