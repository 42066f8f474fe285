"""Closed-form jobs: what they say of machines, and what a first job's measurements make of them."""

import math
from decimal import Decimal

import numpy as np
import pytest

from mlbroker.pricing.offer import Gpu, Hardware
from mlbroker.profiles.estimators.archetypes import (
    ON_CPU,
    Seen,
    believed,
    favoured,
    shapes,
)
from mlbroker.profiles.transfer.belief import Belief
from mlbroker.profiles.transfer.history import (
    Completed,
    PastJob,
    Shapes,
    enough,
    first_job,
    prior,
)
from mlbroker.profiles.transfer.kernel import Hyper
from mlbroker.profiles.transfer.space import encode
from mlbroker.profiles.value_of_information import Step, Terms, begin, next_step

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


def new_job(*boxes: Hardware | None, doubt: float = 0.35) -> Belief:
    columns = {
        "vcpus": [h.vcpus if h else 8.0 for h in boxes],
        "gpus": [h.gpu_count if h else 0.0 for h in boxes],
    }
    space = encode(columns, [""] * len(boxes), doubt=[doubt] * len(boxes))
    of_first = shapes(boxes, [1] * len(boxes))
    return Belief(first_job(space, np.arange(len(boxes)), [], [], of_first), Hyper())


def test_two_measurements_tell_a_job_that_gains_from_a_gpu_from_one_that_does_not() -> None:
    more = WITH_T4._replace(gpu_count=4)
    with_gpu, without = new_job(*BOXES, more), new_job(*BOXES, more)
    for belief, time_s in ((with_gpu, 10.0), (without, 1000.0)):
        belief.observe(0, math.log(1000.0))
        belief.observe(2, math.log(time_s))
    assert math.exp(with_gpu.mean[3]) < 10
    assert math.exp(without.mean[3]) > 100


def test_specifications_speak_where_no_machine_is_known_and_beside_those_that_are() -> None:
    nothing = new_job(None, None)
    assert nothing.means.shape == (1, 2)
    half = new_job(SMALL, None, LARGE, None)
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
    found = first_job(space, rows, past, useless, shapes(boxes, [1] * 4))
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
    belief = new_job(*boxes, doubt=0.6)
    terms = Terms(prices, 60.0)
    belief = begin(belief.prior, Hyper().widened(), terms)
    belief.observe(0, math.log(300 * 3600.0))
    belief.observe(1, math.log(20 * 3600.0))
    step = next_step(belief, terms)
    assert (step.candidate, step.probe) == (2, True)


@pytest.mark.parametrize(("seen", "share"), [(None, 0.5), (True, 0.98), (False, 0.02)])
def test_what_was_seen_of_the_gpu_decides_between_shapes(seen: bool | None, share: float) -> None:
    found = shapes(BOXES, [1] * 3, Seen(seen))
    assert len(found.weights) == len(found.log_times)
    assert found.weights.sum() == pytest.approx(1)
    assert found.weights[ON_CPU:].sum() == pytest.approx(share)


@pytest.mark.parametrize(("parallel", "share"), [(0.0, 0.02), (0.3, 0.15), (0.98, 0.49)])
def test_what_hardly_runs_in_parallel_here_is_no_job_for_a_gpu(
    parallel: float, share: float
) -> None:
    found = shapes(BOXES, [1] * 3, Seen(parallel=parallel))
    assert found.weights.sum() == pytest.approx(1)
    assert found.weights[ON_CPU:].sum() == pytest.approx(share)
    # And the shapes that are as parallel as it was found are the likelier.
    gains = found.log_times[:ON_CPU, 0] - found.log_times[:ON_CPU, 1]
    quick, slow = (
        found.weights[:ON_CPU][gains == each].max() for each in (gains.max(), gains.min())
    )
    assert bool(quick > slow) is (parallel > 0.8)


def test_many_nodes_do_each_its_part_or_are_one_machine() -> None:
    gains = faster(shapes([SMALL, SMALL], [1, 64]), 0, 1)
    assert max(gains) >= 64
    assert min(gains) < 3


@pytest.mark.parametrize(("time_s", "words"), [(10.0, "with use for"), (1000.0, "without use for")])
def test_what_the_evidence_favours_is_said_in_words(time_s: float, words: str) -> None:
    belief = new_job(*BOXES)
    belief.observe(0, math.log(1000.0))
    belief.observe(2, math.log(time_s))
    said = favoured(belief)
    assert said.startswith(f"most like a job {words} a GPU (")
    assert said.endswith("% of it parallel")
    assert favoured(Belief(prior(belief.prior.space, np.arange(3), [], []), Hyper())) == ""


def test_a_first_job_takes_as_long_on_its_own_cheapest_machines_whatever_it_is_like() -> None:
    """Not on those that are cheapest on average: a job for GPUs would be a small one then."""
    prices = np.array([0.1, 3.2, 0.53])
    before = new_job(*BOXES).prior
    belief = begin(before, Hyper().widened(), Terms(prices, 60.0))
    cheapest = np.sort(belief.means + np.log(prices), axis=1)[:, 0]
    gpu = belief.means[:, 2] < belief.means[:, 0] - math.log(20)
    assert gpu.any()
    assert not gpu.all()
    # Five machines are meant; of three all count.
    assert belief.means.mean(1) == pytest.approx(np.full(len(belief.means), math.log(7200.0)))
    assert np.isfinite(cheapest).all()


# A past in which GPUs are four times as fast; machines 0 and 1 have none.
RENTED = [SMALL, SMALL._replace(vcpus=8, memory_gib=32), WITH_T4, WITH_T4._replace(vcpus=8)]
USD = np.array([0.1, 0.3, 0.6, 0.8])


def after_many(
    times_s: dict[int, float], deadline_s: float | None = None, core_speed: float = 1.0
) -> tuple[Belief, Terms]:
    """A job after jobs of four families; `core_speed` of the machines without a GPU."""
    boxes = [h if h.gpu else h._replace(core_speed=core_speed) for h in RENTED]
    columns = {"vcpus": [h.vcpus for h in boxes], "gpus": [h.gpu_count for h in boxes]}
    space, rows = encode(columns, [""] * 4), np.arange(4)
    logs = np.log(np.array([2000.0, 760.0, 200.0, 190.0]))
    past = [
        PastJob(f"{n}", f"f{n}", rows, logs + n + 0.05 * np.cos(n * rows), rows[:0])
        for n in range(4)
    ]
    completed = [Completed(job.log_times, np.ones(4)) for job in past]
    terms = Terms(USD, 10.0, deadline_s)
    # Such a past tells a lot of machines: specifications leave little open.
    told = Hyper(linear=0.02, smooth=0.02, additive=0.02, own=0.02, history=0.02)
    belief = begin(believed(space, boxes, [1] * 4, rows, past, completed), told, terms)
    for place, time_s in times_s.items():
        belief.observe(place, math.log(time_s))
    return belief, terms


# On these GPUs the job takes as long as their processors alone let expect.
ON_THEIR_PROCESSORS = {2: 40_000.0, 3: 26_000.0}


def decided(
    times_s: dict[int, float], deadline_s: float | None = None, core_speed: float = 1.0
) -> tuple[Step, Step]:
    """The next step, and what it would be if nobody thought of a job unlike all past ones."""
    belief, terms = after_many(times_s, deadline_s, core_speed)
    step = next_step(belief, terms)
    belief.prior = belief.prior._replace(unlike=None)
    return step, next_step(belief, terms)


def test_the_kind_never_looked_at_is_looked_at_where_it_may_save_something() -> None:
    # By all that is past, no machine without a GPU meets the deadline.
    look, usual = decided(ON_THEIR_PROCESSORS, 30_000.0)
    assert (usual.candidate, usual.probe) == (3, False)
    assert look.probe
    assert look.candidate in (0, 1)
    assert 0 < look.costs_usd < look.saves_usd


@pytest.mark.parametrize(
    ("times_s", "deadline_s", "core_speed"),
    [
        (ON_THEIR_PROCESSORS, 27_000.0, 0.3),
        (ON_THEIR_PROCESSORS | {0: 90_000.0}, 30_000.0, 1.0),
        ({2: 40_000.0, 3: 39_000.0}, None, 0.01),
        ({2: 1000.0}, None, 1.0),
    ],
    ids=["late", "looked at", "dear", "not about to commit"],
)
def test_where_a_look_brings_nothing_there_is_none(
    times_s: dict[int, float], deadline_s: float | None, core_speed: float
) -> None:
    step, usual = decided(times_s, deadline_s, core_speed)
    assert step == usual


def played(
    boxes: list[Hardware | None], prices: list[float], times_s: list[float | None]
) -> tuple[int | None, Belief]:
    """What is chosen in the end, and the belief then, of a first job that takes so long; None
    where it fails."""
    terms = Terms(np.array(prices), 60.0)
    belief = begin(new_job(*boxes).prior, Hyper().widened(), terms)
    while (step := next_step(belief, terms)).probe:
        assert step.candidate is not None
        time_s = times_s[step.candidate]
        if time_s is None:
            belief.fail(step.candidate)
        else:
            belief.observe(step.candidate, math.log(time_s))
    return step.candidate, belief


def test_a_first_job_that_fails_everywhere_has_no_choice() -> None:
    chosen, belief = played(list(BOXES), [0.1, 3.2, 0.53], [None] * 3)
    assert chosen is None
    assert sorted(belief.failed) == [0, 1, 2]


def test_a_first_job_with_one_machine_is_not_probed() -> None:
    chosen, belief = played([SMALL], [0.1], [36_000.0])
    assert (chosen, belief.measured) == (0, [])


def test_half_of_the_hardware_unknown_leaves_a_sound_choice() -> None:
    boxes = [*BOXES, None, None, None]
    prices = [0.1, 3.2, 0.53, 0.1, 3.2, 0.53]
    chosen, belief = played(boxes, prices, [400_000.0, 40_000.0, 4000.0] * 2)
    assert chosen in (2, 5)
    assert np.isfinite(belief.mean).all()
    assert np.isfinite(belief.reported).all()


def test_a_machine_measured_a_hundred_times_too_slow_makes_a_first_job_less_sure() -> None:
    more = [SMALL._replace(vcpus=n, memory_gib=4.0 * n) for n in (2, 4, 8, 16, 32)]
    right, wrong = new_job(*more), new_job(*more)
    for place, time_s in enumerate((8000.0, 4400.0, 2600.0)):
        right.observe(place, math.log(time_s))
        wrong.observe(place, math.log(time_s * (100 if place == 2 else 1)))
    assert (wrong.reported[3:] > 2 * right.reported[3:]).all()
