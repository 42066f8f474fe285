"""Closed-form jobs: what they say of machines, and what a first job's measurements make of them."""

import math
from decimal import Decimal

import numpy as np
import pytest

from mlbroker.pricing.offer import Gpu, Hardware
from mlbroker.profiles.estimators.archetypes import shapes
from mlbroker.profiles.transfer.belief import Belief
from mlbroker.profiles.transfer.history import Completed, PastJob, Shapes, enough, prior
from mlbroker.profiles.transfer.kernel import Hyper
from mlbroker.profiles.transfer.space import encode
from mlbroker.profiles.value_of_information import Terms, begin, next_step

T4 = Gpu("T4", 16, 8.1, 65.0, 320.0, 70.0)
SMALL = Hardware(2, 8, "x86_64", core_speed=1.0, threads_per_core=2, sockets=1)
LARGE = Hardware(64, 256, "x86_64", core_speed=1.0, threads_per_core=2, sockets=2)
WITH_T4 = Hardware(4, 16, "x86_64", gpu=T4, gpu_count=1, core_speed=1.0, threads_per_core=2)
BOXES = [SMALL, LARGE, WITH_T4]


def faster(found: Shapes, one: int, other: int) -> set[float]:
    """How much faster than `one` each of the shapes is on `other`."""
    return set(np.round(np.exp(found.log_times[:, one] - found.log_times[:, other]), 1).tolist())


def test_a_thread_tells_of_no_more_than_its_speed() -> None:
    quick = SMALL._replace(core_speed=1.58)
    assert faster(shapes([SMALL, quick], [1, 1]), 0, 1) == {1.6}


def test_more_cores_are_of_use_as_far_as_a_job_is_parallel_and_on_one_socket() -> None:
    plain = LARGE._replace(memory_gib=8)
    gains = faster(shapes([SMALL, plain], [1, 1]), 0, 1)
    # 64 hyperthreads are worth 51.2 cores, or 25.6 on one socket; two are worth 1.6.
    assert min(gains) == pytest.approx((0.7 + 0.3 / 1.6) / (0.7 + 0.3 / 25.6), abs=0.05)
    assert max(gains) == pytest.approx((0.02 + 0.98 / 1.6) / (0.02 + 0.98 / 51.2), abs=0.05)


def test_a_gpu_is_worth_nothing_or_so_many_threads() -> None:
    gains = faster(shapes([WITH_T4._replace(gpu=None, gpu_count=0), WITH_T4], [1, 1]), 0, 1)
    assert 1.0 in gains
    assert max(gains) > 100
    no_cuda = WITH_T4._replace(gpu=T4._replace(model="Inferentia2"))
    assert faster(shapes([no_cuda, no_cuda._replace(gpu=None, gpu_count=0)], [1, 1]), 0, 1) == {1.0}
    half = shapes([WITH_T4, WITH_T4._replace(gpu_count=0.5)], [1, 1])
    assert {0.5, 1.0} <= faster(half, 0, 1)


def test_half_of_the_jobs_have_no_program_for_an_arm_host() -> None:
    gains = shapes([WITH_T4, WITH_T4._replace(arch="arm64")], [1, 1]).log_times
    slower = gains[:, 1] > gains[:, 0]
    assert 10 < slower.sum() < 38


def test_too_little_memory_slows_some_jobs_down() -> None:
    gains = faster(shapes([SMALL._replace(memory_gib=2), SMALL], [1, 1]), 0, 1)
    assert 1.0 in gains
    assert max(gains) > 1.4


def test_unknown_hardware_is_left_open() -> None:
    found = shapes([None, SMALL, Hardware(0, 0, "unknown")], [1, 1, 1])
    assert np.isnan(found.log_times).all(0).tolist() == [True, False, True]
    nothing = shapes([None, None], [1, 1])
    assert np.isnan(nothing.log_times).all()


def first_job(*boxes: Hardware | None, doubt: float = 0.35) -> Belief:
    columns = {
        "vcpus": [h.vcpus if h else 8.0 for h in boxes],
        "gpus": [h.gpu_count if h else 0.0 for h in boxes],
    }
    space = encode(columns, [""] * len(boxes), doubt=[doubt] * len(boxes))
    of_first = shapes(boxes, [1] * len(boxes))
    return Belief(prior(space, np.arange(len(boxes)), [], [], of_first), Hyper())


def test_two_measurements_tell_a_job_that_gains_from_a_gpu_from_one_that_does_not() -> None:
    more = WITH_T4._replace(gpu_count=4)
    with_gpu, without = first_job(*BOXES, more), first_job(*BOXES, more)
    for belief, time_s in ((with_gpu, 10.0), (without, 1000.0)):
        belief.observe(0, math.log(1000.0))
        belief.observe(2, math.log(time_s))
    assert math.exp(with_gpu.mean[3]) < 10
    assert math.exp(without.mean[3]) > 100


def test_specifications_speak_where_no_machine_is_known_and_beside_those_that_are() -> None:
    nothing = first_job(None, None)
    assert nothing.means.shape == (1, 2)
    half = first_job(SMALL, None, LARGE, None)
    assert np.isfinite(half.means).all()
    half.observe(0, math.log(100.0))
    assert 10 < math.exp(half.mean[1]) < 1000


def test_one_family_is_one_case_beside_the_shapes_and_cannot_outvote_them() -> None:
    boxes = [SMALL, LARGE, WITH_T4, WITH_T4._replace(gpu_count=4)]
    rows = np.arange(4)
    space = encode({"vcpus": [h.vcpus for h in boxes]}, [""] * 4)
    past = [PastJob(name, "gen", rows, np.zeros(4), rows[:0]) for name in ("gen16", "gen512")]
    useless = [Completed(np.log([100.0, 30.0, 100.0, 100.0]), np.ones(4))] * 2
    assert not enough(past)
    assert enough([past[0], past[1]._replace(family="prompt")])
    found = prior(space, rows, past, useless, shapes(boxes, [1] * 4))
    # Weights two for the shapes, one for a job unlike all, one for both sisters together.
    assert found.chances[0] == pytest.approx(0.25)
    assert found.chances[1:-2].sum() == pytest.approx(0.5)
    assert found.chances[-2:].tolist() == pytest.approx([0.125, 0.125])
    likest = found.mean + found.offsets[-1]
    assert likest[0] - likest[1] == pytest.approx(math.log(100 / 30))
    assert not len(found.factors)


def test_a_gpu_never_looked_at_is_tried_before_a_long_job_is_left_to_a_cpu() -> None:
    """Its probe is short, however long it would take if the GPU were of no use."""
    boxes = [SMALL, LARGE, WITH_T4]
    prices = np.array([float(Decimal(usd)) for usd in ("0.1", "3.2", "0.53")])
    belief = first_job(*boxes, doubt=0.6)
    terms = Terms(prices, 60.0)
    belief = begin(belief.prior, Hyper().widened(), terms)
    belief.observe(0, math.log(300 * 3600.0))
    belief.observe(1, math.log(20 * 3600.0))
    step = next_step(belief, terms)
    assert (step.candidate, step.probe) == (2, True)


@pytest.mark.parametrize(("seen", "share"), [(None, 0.5), (True, 0.98), (False, 0.02)])
def test_what_was_seen_of_the_gpu_decides_between_shapes(seen: bool | None, share: float) -> None:
    found = shapes(BOXES, [1] * 3, seen)
    # The second 48 are those that gain from a GPU.
    assert found.weights.sum() == pytest.approx(1)
    assert found.weights[-48:].sum() == pytest.approx(share)
