"""Ratios from data sheets: their direction, their width, their words."""

import pytest

from mlbroker.pricing.book import Requirements
from mlbroker.pricing.offer import Gpu, Hardware
from mlbroker.profiles.estimators.datasheet import (
    MOST_PAPER_SIGMA,
    estimate,
    relative_speed,
)
from mlbroker.profiles.job import Job, ResourceOption, Work
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Basis, Evidence, Prediction, Target

T4 = Gpu("T4", 16, 8.1, 65.0, 320.0, 70.0)
A100 = Gpu("A100-40GB", 40, 19.5, 312.0, 1555.0, 400.0)
SMALL = Hardware(2, 8, "x86_64", cpu="Ice Lake")
LARGE = Hardware(16, 64, "x86_64", cpu="Ice Lake")
WITH_T4 = Hardware(4, 16, "x86_64", cpu="Ice Lake", gpu=T4, gpu_count=1)
WITH_A100 = Hardware(12, 85, "x86_64", cpu="Cascade Lake", gpu=A100, gpu_count=1)
CPU_JOB = Job("j", "true", work=Work(100))
GPU_JOB = Job("j", "true", work=Work(100),
              resources=(ResourceOption(Requirements(gpu_model="T4")),))  # fmt: skip


def one(job: Job, hardware: Hardware, *rows: Measurement) -> Prediction:
    (answer,) = estimate(Evidence(job, rows), [Target("aws", "x", hardware)])
    assert answer is not None
    assert answer.basis is Basis.DATASHEET
    return answer


def measured(hardware: Hardware, time_s: float, gpu: bool = False) -> Measurement:
    return Measurement("j", "here", time_s, steps=10, hardware=hardware, gpu_used=gpu)


def test_of_a_job_never_measured_no_time_is_told() -> None:
    for job in (CPU_JOB, GPU_JOB, Job("j", "true")):
        targets = [Target("aws", "x", hardware) for hardware in (SMALL, LARGE, WITH_T4)]
        assert estimate(Evidence(job), targets) == [None] * 3


def test_what_is_told_of_it_is_how_fast_machines_are_against_each_other() -> None:
    small, large = relative_speed(SMALL, False), relative_speed(LARGE, False)
    assert small is not None
    assert large is not None
    assert 1 < large / small < 8
    assert relative_speed(WITH_T4, True) == pytest.approx(1)
    assert (relative_speed(WITH_A100, True) or 0) > 2 > (relative_speed(SMALL, True) or 9)
    unheard_of = WITH_T4._replace(gpu=Gpu("Unheard-of", 8))
    assert relative_speed(unheard_of, True) is None
    assert relative_speed(Hardware(0, 0, "unknown"), False) is None


def test_a_measured_parallel_fraction_decides_how_cores_scale() -> None:
    row = measured(SMALL, 1.0)
    serial = Measurement(row.job, row.config, row.time_s, steps=10, hardware=SMALL,
                         features={"parallel_fraction": 0.0})  # fmt: skip
    assert one(CPU_JOB, LARGE, serial).median_step_time_s == pytest.approx(1.0)
    assert one(CPU_JOB, LARGE, row).median_step_time_s < 0.5


def test_a_measurement_narrows_and_distance_widens() -> None:
    near, far = one(CPU_JOB, SMALL, measured(SMALL, 1.0)), one(CPU_JOB, LARGE, measured(SMALL, 1.0))
    assert near.median_step_time_s == pytest.approx(1.0)
    assert near.sigma_log < far.sigma_log < MOST_PAPER_SIGMA
    assert "scaled by data sheet from here" in far.evidence


def test_a_gpu_helps_only_a_job_that_uses_it() -> None:
    seen_idle = measured(WITH_T4, 1.0, gpu=False)
    with_gpu, without = (
        one(CPU_JOB, WITH_A100, seen_idle),
        one(CPU_JOB, WITH_A100._replace(gpu=None, gpu_count=0), seen_idle),
    )
    assert with_gpu.median_step_time_s == without.median_step_time_s


def test_from_cpu_to_gpu_is_the_widest_step() -> None:
    row = measured(LARGE, 1.0, gpu=True)
    assert one(GPU_JOB, WITH_T4, row).sigma_log > 1.0


def test_hardware_without_figures_gets_no_answer() -> None:
    assert estimate(Evidence(CPU_JOB), [Target("x", "y", Hardware(0, 0, "unknown"))]) == [None]


@pytest.mark.parametrize(
    ("other", "faster"),
    [
        # One thread tells the speed of one core, and no name of a processor does.
        (SMALL._replace(core_speed=1.58, cpu="EPYC 5th Gen"), 1.58),
        (SMALL._replace(core_speed=0.65, cpu="Graviton2"), 0.65),
        (SMALL._replace(cpu="EPYC 5th Gen"), 1.0),
        # Two threads of one core do 1.6 times the work of one: 1 / (.05 + .95 / 2) on two cores.
        (SMALL._replace(threads_per_core=2), (0.05 + 0.95 / 2) / (0.05 + 0.95 / 1.6)),
        (SMALL._replace(threads_per_core=1), 1.0),
    ],
)
def test_measured_speed_of_a_core_and_threads_decide_between_cpus(
    other: Hardware, faster: float
) -> None:
    time_s = one(CPU_JOB, other, measured(SMALL, 1.0)).median_step_time_s
    assert 1 / time_s == pytest.approx(faster)
