"""What every estimator promises (mlbroker.profiles.estimators.interface), whatever it is asked.

A package of its own subclasses `EstimatorSuite` with a fixture `estimator`: a class method, of the
scope `class`.
"""

import math
from dataclasses import replace
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from mlbroker.pricing.book import Amount, Requirements
from mlbroker.pricing.offer import Gpu, Hardware, Market
from mlbroker.profiles.estimators.interface import Estimator
from mlbroker.profiles.estimators.stated import hint_of
from mlbroker.profiles.job import (
    Checkpoint,
    Data,
    Deadline,
    Job,
    ResourceOption,
    StatedTime,
    Work,
)
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.prediction import Evidence, Target

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
    core_speed=st.none() | st.sampled_from([0.32, 1.0, 1.58]),
    threads_per_core=st.none() | st.sampled_from([1, 2]),
    sockets=st.none() | st.sampled_from([1, 2, 4]),
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
takes = st.none() | st.builds(StatedTime, st.sampled_from([60.0, 3600.0]), st.just("b"))
jobs = st.builds(
    Job,
    name=st.just("j"),
    command=st.just("true"),
    work=st.none() | st.just(Work(100)),
    takes=takes,
)
any_jobs = st.builds(
    Job,
    name=st.sampled_from(["j", "k"]),
    command=st.sampled_from(["true", "python train.py --big"]),
    setup=st.none() | st.just("pip install torch"),
    workdir=st.none() | st.just("/work"),
    num_nodes=st.sampled_from([1, 4]),
    resources=st.sampled_from(
        [
            (ResourceOption(),),
            (ResourceOption(Requirements(gpu_model="T4")),),
            (ResourceOption(Requirements(vcpus=Amount(8)), cloud="aws", market=Market.SPOT),),
            (ResourceOption(Requirements(gpu_model="A100-40GB")), ResourceOption()),
        ]
    ),
    envs=st.sampled_from([{}, {"EPOCHS": "3"}]),
    deadline=st.none() | st.just(Deadline(3600.0)),
    confidence=st.sampled_from([0.5, 0.9]),
    budget_usd=st.none() | st.just(Decimal(1)),
    work=st.none() | st.builds(Work, st.integers(1, 10**6)),
    takes=takes,
    checkpoint=st.none() | st.just(Checkpoint("c/", 60.0)),
    data=st.builds(Data, st.sampled_from([Decimal(0), Decimal(9)])),
)


def never_measured(job: Job) -> Evidence:
    """All that may be known of such a job: what its user says, on a machine of the book."""
    return Evidence(job, hint=hint_of(job, Hardware(8, 32, "x86_64", gpu=GPUS[0], gpu_count=1)))


class EstimatorSuite:
    """The tests; a subclass has a fixture `estimator`, which outlives the examples of a test."""

    @settings(max_examples=60, deadline=None)
    @given(jobs, measurements, targets)
    def test_one_sound_answer_for_each_target(
        self, estimator: Estimator, job: Job, rows: list[Measurement], wanted: list[Target]
    ) -> None:
        evidence = never_measured(job)._replace(measurements=rows)
        answers = estimator.estimate(evidence, wanted)
        assert len(answers) == len(wanted)
        for answer in answers:
            if answer is not None:
                assert math.isfinite(answer.median_step_time_s)
                assert answer.median_step_time_s > 0
                assert 0 <= answer.sigma_log < 10
                assert answer.evidence
                low, middle, high = answer.step_time_s
                assert low <= middle <= high
        assert list(answers) == list(estimator.estimate(evidence, wanted))

    @settings(max_examples=300, deadline=None)
    @given(any_jobs, any_jobs, targets)
    def test_jobs_of_equal_keys_get_equal_guesses(
        self, estimator: Estimator, one: Job, other: Job, wanted: list[Target]
    ) -> None:
        """Planning many jobs guesses once for all that have one key."""
        if estimator.guess_key(one) == estimator.guess_key(other):
            guesses = [
                list(estimator.estimate(never_measured(job), wanted)) for job in (one, other)
            ]
            assert guesses[0] == guesses[1]
        assert hash(estimator.guess_key(one)) == hash(estimator.guess_key(replace(one)))

    @settings(max_examples=60, deadline=None)
    @given(any_jobs, targets)
    def test_equal_hardware_of_a_cloud_gets_equal_guesses(
        self, estimator: Estimator, job: Job, wanted: list[Target]
    ) -> None:
        renamed = [target._replace(instance_type="renamed", region=None) for target in wanted]
        known = never_measured(job)
        named = [list(estimator.estimate(known, some)) for some in (wanted, renamed)]
        assert named[0] == named[1]
