"""What every estimator in the registry promises, whatever it is asked."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbroker.pricing.offer import Gpu, Hardware
from mlbroker.profiles.estimators import ESTIMATORS, predict
from mlbroker.profiles.job import Job, Work
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.prediction import Estimator, Evidence, Target

GPUS = [
    Gpu("T4", 16, 8.1, 65, 320, 70),
    Gpu("A100-40GB", 40, 19.5, 312, 1555, 400),
    Gpu("Unheard-of", 8),
]
hardware = st.builds(
    Hardware,
    vcpus=st.sampled_from([0.5, 1, 2, 8, 96]),
    memory_gib=st.sampled_from([0.5, 8, 768]),
    arch=st.sampled_from(["x86_64", "arm64"]),
    cpu=st.sampled_from([None, "Ice Lake", "A CPU of the future"]),
    gpu=st.none() | st.sampled_from(GPUS),
    gpu_count=st.sampled_from([0.25, 1, 8]),
    burstable=st.booleans(),
    bare_metal=st.just(False),
    local_disk_gib=st.none(),
    network_gbps=st.none() | st.just(25.0),
)
targets = st.lists(
    st.builds(
        Target,
        cloud=st.sampled_from(["aws", "gcp"]),
        instance_type=st.sampled_from(["a", "b", "c"]),
        hardware=hardware,
        nodes=st.sampled_from([1, 4]),
        region=st.none() | st.just("us-east-1"),
    ),
    max_size=6,
)
measurements = st.lists(
    st.builds(
        Measurement,
        job=st.just("j"),
        config=st.sampled_from(["a", "b"]),
        time_s=st.floats(1e-6, 1e7),
        cloud=st.none() | st.just("aws"),
        instance_type=st.none() | st.sampled_from(["a", "b"]),
        region=st.none() | st.just("us-east-1"),
        nodes=st.sampled_from([1, 4]),
        steps=st.none() | st.integers(1, 1000),
        status=st.sampled_from(Status),
        hardware=st.none() | hardware,
        sigma_log=st.none() | st.floats(0, 1),
        gpu_used=st.none() | st.booleans(),
    ),
    max_size=6,
)
jobs = st.builds(
    Job, name=st.just("j"), command=st.just("true"), work=st.none() | st.just(Work(100))
)


@pytest.mark.parametrize("estimate", ESTIMATORS.values(), ids=ESTIMATORS)
@settings(max_examples=60)
@given(jobs, measurements, targets)
def test_one_sound_answer_for_each_target(
    estimate: Estimator, job: Job, rows: list[Measurement], wanted: list[Target]
) -> None:
    evidence = Evidence(job, rows)
    answers = estimate(evidence, wanted)
    assert len(answers) == len(wanted)
    for answer in answers:
        if answer is not None:
            assert math.isfinite(answer.median_step_time_s)
            assert answer.median_step_time_s > 0
            assert 0 <= answer.sigma_log < 10
            assert answer.evidence
            low, middle, high = answer.step_time_s
            assert low <= middle <= high
    assert list(answers) == list(estimate(evidence, wanted))


def test_the_registry_is_in_order_of_preference() -> None:
    box = Hardware(4, 16, "x86_64")
    row = Measurement("j", "a", 2.0, cloud="aws", instance_type="a", steps=1, hardware=box)
    evidence = Evidence(Job("j", "true"), [row])
    here, there = predict(
        evidence, [Target("aws", "a", box), Target("aws", "z", box._replace(vcpus=8))]
    )
    assert here is not None
    assert here.basis == "measured"
    assert there is not None
    assert there.basis != "measured"
