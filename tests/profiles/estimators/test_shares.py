"""Shares of a GPU: slower by the share, with less memory, and less surely known."""

import pytest

from mlbroker.policies.candidates import Filters, fitting
from mlbroker.policies.quote import Reason
from mlbroker.pricing.book import TypeEntry
from mlbroker.pricing.offer import Gpu, Hardware, InstanceType
from mlbroker.profiles.estimators import predict
from mlbroker.profiles.job import Job, Work
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Evidence, Target

L4 = Gpu("L4", 24.0, tensor_tflops=121.0, memory_bandwidth_gb_per_s=300.0)
T4 = Gpu("T4", 16.0, tensor_tflops=65.0, memory_bandwidth_gb_per_s=320.0)


def machine(gpu: Gpu, share: float) -> Hardware:
    return Hardware(4, 16.0, "x86_64", gpu=gpu, gpu_count=share)


WHOLE, EIGHTH, OTHER = machine(L4, 1), machine(L4, 0.125), machine(T4, 1)
JOB = Job("j", "r", work=Work(100))
TARGETS = [Target("c", "whole", WHOLE), Target("c", "eighth", EIGHTH), Target("c", "other", OTHER)]


def measured(name: str, hardware: Hardware, time_s: float, job: str = "j") -> Measurement:
    return Measurement(
        job, name, time_s, cloud="c", instance_type=name, steps=100, hardware=hardware,
        gpu_used=True, peak_gpu_memory_gib=10.0,
    )  # fmt: skip


PAST = [
    measured(name, hardware, factor * time_s, job)
    for job, factor in (("a", 1.0), ("b", 3.0))
    for name, hardware, time_s in (("first", WHOLE, 1.0), ("other", OTHER, 1.6))
]


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence(JOB, [measured("first", WHOLE, 1.0)]),
        Evidence(JOB, [measured("first", WHOLE, 1.0), measured("T4", OTHER, 1.6)]),
        Evidence(JOB, [measured("first", WHOLE, 1.0)], PAST),
    ],
    ids=["data sheet", "two machines", "past jobs"],
)
def test_an_eighth_takes_several_times_as_long_and_is_less_sure(evidence: Evidence) -> None:
    whole, eighth, _ = predict(evidence, TARGETS)
    assert whole is not None
    assert eighth is not None
    assert 4 < eighth.median_step_time_s / whole.median_step_time_s < 30
    assert eighth.sigma_log > 1.2 * whole.sigma_log


def test_what_needs_more_memory_than_the_share_has_does_not_fit() -> None:
    types = [
        TypeEntry(number, number, InstanceType("c", target.instance_type, target.hardware))
        for number, target in enumerate(TARGETS)
    ]
    fits, refusals = fitting(JOB, types, [measured("first", WHOLE, 1.0)], Filters())
    assert [fit.type.name for fit in fits] == ["whole", "other"]
    assert {refusal.reason for refusal in refusals} == {Reason.TOO_LITTLE_MEMORY}
