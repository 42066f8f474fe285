import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbroker.profiles.transfer.belief import GUESSED_SCALE, MAX_CASES, Belief
from mlbroker.profiles.transfer.history import PastJob, complete, prior
from mlbroker.profiles.transfer.kernel import Hyper
from mlbroker.profiles.transfer.space import encode

VCPUS = [1, 2, 4, 8, 16, 32, 64, 128]


def fresh(size: int = 8) -> Belief:
    space = encode({"vcpus": VCPUS[:size]}, [""] * size)
    return Belief(prior(space, np.arange(size), [], []), Hyper())


def test_a_measured_time_is_known_and_neighbours_follow() -> None:
    belief = fresh()
    belief.observe(3, math.log(100))
    assert math.isclose(math.exp(belief.mean[3]), 100, rel_tol=0.01)
    spread = np.sqrt(belief.variance)
    assert spread[3] < 0.1 < spread[4] < spread[7]


def test_without_a_measurement_no_scale_is_known() -> None:
    belief = fresh()
    assert not belief.scaled
    assert (belief.variance > GUESSED_SCALE).all()
    belief.observe(0, 0.0)
    assert belief.scaled


def test_surprises_widen_everything_and_fulfilled_predictions_narrow() -> None:
    calm, shaken = fresh(), fresh()
    for belief in (calm, shaken):
        belief.observe(0, 0.0)
        belief.observe(1, float(belief.mean[1]))
        belief.observe(2, float(belief.mean[2]))
    calm.observe(4, float(calm.mean[4]))
    shaken.observe(4, float(shaken.mean[4]) + math.log(100))
    assert (shaken.variance[5:] > 2 * calm.variance[5:]).all()


def test_a_hint_is_no_measurement() -> None:
    belief = fresh()
    belief.hint(0, math.log(50), 0.64)
    assert belief.measured == []
    assert belief.variance[0] > 0.3
    assert math.isclose(belief.mean[0], math.log(50), abs_tol=0.2)


@settings(max_examples=80)
@given(
    st.lists(st.tuples(st.integers(0, 7), st.floats(-20, 20)), max_size=10),
    st.sets(st.integers(0, 7), max_size=8),
)
def test_whatever_is_measured_beliefs_stay_sound(
    seen: list[tuple[int, float]], failed: set[int]
) -> None:
    belief = fresh()
    for candidate, log_time in seen:
        belief.observe(candidate, log_time)
    for candidate in failed:
        belief.fail(candidate)
    assert np.isfinite(belief.mean).all()
    assert np.isfinite(belief.variance).all()
    assert (belief.variance > 0).all()
    assert ((belief.failure >= 0) & (belief.failure <= 1)).all()
    assert (belief.failure[sorted(failed)] == 1).all()


@given(st.integers(0, 7), st.floats(3.0, 8.0))
def test_contradicting_repeats_are_never_a_confident_number(place: int, apart: float) -> None:
    belief = fresh()
    belief.observe(place, 0.0)
    belief.observe(place, apart)
    others = [other for other in range(8) if other != place]
    calm = fresh()
    calm.observe(place, 0.0)
    calm.observe(place, 0.0)
    assert (belief.variance[others] > calm.variance[others]).all()
    assert 0 < belief.mean[place] < apart


def test_failure_reaches_down_and_success_up() -> None:
    space = encode({"memory_gib": [1, 2, 4, 8, 16]}, [""] * 5)
    belief = Belief(prior(space, np.arange(5), [], []), Hyper())
    belief.fail(2)
    assert belief.failure[1] > 0.4
    assert belief.failure[4] < 0.2
    belief.observe(3, 0.0)
    assert belief.failure[3] == 0
    assert belief.failure[4] < 0.1


def two_kinds(families: int) -> Belief:
    """After jobs of two kinds: half of them gain nothing from cores, half all there is."""
    space = encode({"vcpus": VCPUS}, [""] * 8)
    rows = np.arange(8)
    gains = np.log(np.array(VCPUS, dtype=float))
    past = [
        PastJob(f"{n}", f"{n}", rows, n - gains * (n % 2) + 0.02 * n * (rows % 3), rows[:0])
        for n in range(families)
    ]
    return Belief(prior(space, rows, past, complete(space, past, Hyper())), TOLD_APART)


# What past jobs tell counts; what specifications let expect hardly does.
TOLD_APART = Hyper(linear=0.01, smooth=0.01, additive=0.01, own=0.01, history=0.01)


def test_two_measurements_tell_which_past_jobs_this_one_is_like() -> None:
    for slope in (0, 1):
        belief = two_kinds(6)
        belief.observe(0, 5.0)
        unsure = belief.variance[7]
        belief.observe(3, 5.0 - slope * math.log(8))
        assert belief.variance[7] < unsure / 3
        assert math.isclose(belief.mean[7], 5.0 - slope * math.log(128), abs_tol=1.0)
        assert math.isclose(belief.weights.sum(), 1)


def test_one_absurd_measurement_does_not_settle_what_the_job_is_like() -> None:
    belief = two_kinds(6)
    belief.observe(0, 5.0)
    belief.observe(3, 5.0 + math.log(100))
    apart = belief.means[:, 7] - belief.means[:, 0]
    assert apart.max() - apart.min() > math.log(20)


def test_before_any_measurement_both_kinds_are_possible() -> None:
    belief = two_kinds(6)
    assert len(belief.weights) == 7
    apart = belief.means[:, 7] - belief.means[:, 0]
    assert apart.max() - apart.min() > math.log(64)


def test_of_a_long_history_only_the_likeliest_jobs_are_told_apart() -> None:
    belief = two_kinds(3 * MAX_CASES)
    assert len(belief.weights) == MAX_CASES
    belief.observe(0, 5.0)
    belief.observe(7, 5.0)
    assert math.isclose(belief.mean[5], 5.0, abs_tol=1.0)


def test_only_past_jobs_narrow_what_is_reported() -> None:
    alone, informed = fresh(), two_kinds(6)
    for belief in (alone, informed):
        belief.observe(0, 5.0)
    assert np.allclose(alone.reported, alone.variance)
    assert (informed.reported < informed.variance).all()
