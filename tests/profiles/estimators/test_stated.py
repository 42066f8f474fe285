"""What a user says that a job takes: on that machine, on others, and beside a measurement."""

import math

import pytest

from mlbroker.pricing.book import Requirements
from mlbroker.pricing.offer import Gpu, Hardware
from mlbroker.profiles.estimators import predict, stated
from mlbroker.profiles.job import Job, ResourceOption, StatedTime, Work
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Basis, Evidence, Prediction, Target

T4 = Gpu("T4", 16, 8.1, 65.0, 320.0, 70.0)
A100 = Gpu("A100-40GB", 40, 19.5, 312.0, 1555.0, 400.0)
SMALL = Hardware(2, 8, "x86_64", cpu="Ice Lake")
LARGE = Hardware(16, 64, "x86_64", cpu="Ice Lake")
WITH_T4 = Hardware(4, 16, "x86_64", cpu="Ice Lake", gpu=T4, gpu_count=1)
WITH_A100 = Hardware(12, 85, "x86_64", cpu="Cascade Lake", gpu=A100, gpu_count=1)
JOB = Job("j", "true", takes=StatedTime(3 * 3600, "small"))


def told(job: Job, there: Hardware, on: Hardware, *rows: Measurement) -> Prediction:
    evidence = Evidence(job, rows, hint=stated.hint_of(job, there))
    (answer,) = predict(evidence, [Target("aws", "x", on)])
    assert answer is not None
    return answer


@pytest.mark.parametrize("work", [None, Work(1000)])
def test_the_whole_takes_what_was_said_within_a_factor_of_two(work: Work | None) -> None:
    steps = work.steps if work else 1
    job = Job("j", "true", work=work, takes=JOB.takes)
    answer = told(job, SMALL, SMALL)
    assert answer.median_step_time_s * steps == pytest.approx(3 * 3600)
    assert answer.step_time_s.p90 / answer.step_time_s.p50 == pytest.approx(2)
    assert answer.basis is Basis.STATED
    assert answer.evidence == "said to take 3 h on small"


def test_elsewhere_the_data_sheets_doubt_comes_on_top() -> None:
    here, there = told(JOB, SMALL, SMALL), told(JOB, SMALL, LARGE)
    assert there.median_step_time_s < here.median_step_time_s
    assert there.sigma_log > math.hypot(here.sigma_log, 0.7)
    assert there.basis is Basis.STATED
    assert "scaled from there by data sheet" in there.evidence


def test_who_names_a_machine_with_a_gpu_means_a_job_that_uses_it() -> None:
    on_gpu, on_cpu = told(JOB, WITH_T4, WITH_A100), told(JOB, SMALL, WITH_A100)
    assert on_gpu.median_step_time_s < 3 * 3600 / 4
    assert on_cpu.median_step_time_s > 3 * 3600 / 10
    asks = Job("j", "true", resources=(ResourceOption(Requirements(gpu_model="T4")),),
               takes=JOB.takes)  # fmt: skip
    assert told(asks, WITH_T4, WITH_A100) == on_gpu


def test_a_measurement_beats_what_was_said() -> None:
    row = Measurement("j", "here", 60.0, steps=None, hardware=LARGE)
    for target in (SMALL, LARGE):
        answer = told(JOB, SMALL, target, row)
        assert answer.basis is not Basis.STATED
        assert answer.median_step_time_s < 1000


def test_a_machine_nobody_knows_says_nothing() -> None:
    assert stated.estimate(Evidence(JOB), [Target("aws", "x", SMALL)]) == [None]
    assert stated.hint_of(Job("j", "true"), SMALL) is None
