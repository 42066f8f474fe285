"""Ratios from data sheets: their direction, their width, their words."""

import pytest

from mlbroker.pricing.book import Requirements
from mlbroker.pricing.offer import Gpu, Hardware
from mlbroker.profiles.estimators.datasheet import GUESS_SIGMA, estimate
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


def test_a_guess_is_wide_and_says_so() -> None:
    guess = one(CPU_JOB, SMALL)
    assert guess.sigma_log >= GUESS_SIGMA
    assert guess.step_time_s.p90 / guess.step_time_s.p50 >= 4
    assert "never measured" in guess.evidence


def test_more_cores_are_faster_but_not_in_proportion() -> None:
    small, large = one(CPU_JOB, SMALL), one(CPU_JOB, LARGE)
    ratio = small.median_step_time_s / large.median_step_time_s
    assert 1 < ratio < 8


def test_a_measured_parallel_fraction_decides_how_cores_scale() -> None:
    row = measured(SMALL, 1.0)
    serial = Measurement(row.job, row.config, row.time_s, steps=10, hardware=SMALL,
                         features={"parallel_fraction": 0.0})  # fmt: skip
    assert one(CPU_JOB, LARGE, serial).median_step_time_s == pytest.approx(1.0)
    assert one(CPU_JOB, LARGE, row).median_step_time_s < 0.5


def test_a_measurement_narrows_and_distance_widens() -> None:
    near, far = one(CPU_JOB, SMALL, measured(SMALL, 1.0)), one(CPU_JOB, LARGE, measured(SMALL, 1.0))
    assert near.median_step_time_s == pytest.approx(1.0)
    assert near.sigma_log < far.sigma_log < GUESS_SIGMA
    assert "scaled by data sheet from here" in far.evidence


def test_a_gpu_helps_only_a_job_that_uses_it() -> None:
    assert one(GPU_JOB, WITH_A100).median_step_time_s < one(GPU_JOB, WITH_T4).median_step_time_s
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
