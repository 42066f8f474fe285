"""Many jobs on small random books: each gets the choice that a plan of its own makes."""

import itertools
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.books import SmallBook
from tests.support.moments import NOW
from tests.support.policies import judge_by

from mlbroker.policies.guardrails.judge import Judge
from mlbroker.policies.planner.many import ManyPlanner
from mlbroker.policies.planner.plan import PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.pricing.book import Amount, Requirements
from mlbroker.pricing.offer import Gpu, Hardware, InstanceType, Market
from mlbroker.pricing.region import Region
from mlbroker.profiles.estimators import ESTIMATORS
from mlbroker.profiles.job import (
    Checkpoint,
    Data,
    DataLocation,
    Deadline,
    Job,
    Objective,
    ObjectiveKind,
    ResourceOption,
    Work,
)
from mlbroker.profiles.prediction import Basis, Evidence, Prediction, Target

REGIONS = [
    Region("aws", "a", "us", None, Decimal("0.08"), Decimal("0.005"), Decimal("0.09"),
           Decimal("0.02"), Decimal("0.05"), 0.4, "x", 1.1),
    Region("aws", "b", "eu", None, Decimal("0.30"), Decimal("0.005"), Decimal("0.20"),
           Decimal("0.02"), Decimal("0.05"), 0.05, "x", 1.1),
    Region("azure", "c", "us", None, Decimal("0.15"), Decimal("0.004"), Decimal("0.08"),
           Decimal("0.02"), Decimal("0.05"), 0.3, "x", 1.2),
    Region("gcp", "d", "us"),
]  # fmt: skip
T4 = Gpu("T4", 16, 8.1, 65.0, 320.0, 70.0)
KINDS = [
    InstanceType(
        cloud,
        f"{cloud}.{vcpus:g}{'g' if gpu else ''}",
        Hardware(vcpus, 4.0 * vcpus, "x86_64", gpu=gpu, gpu_count=float(gpu is not None)),
        retired=vcpus == 32 and cloud == "gcp",
    )
    for cloud, vcpus, gpu in itertools.product(
        ("aws", "azure", "gcp"), (2.0, 4.0, 8.0, 32.0), (None, T4)
    )
]
OFFERED = [
    (kind, place, market)
    for kind, place, market in itertools.product(range(len(KINDS)), range(len(REGIONS)), Market)
    if KINDS[kind].cloud == REGIONS[place].cloud
]
books = st.builds(
    SmallBook,
    st.just(KINDS),
    st.just(REGIONS),
    st.dictionaries(
        st.sampled_from(OFFERED), st.decimals("0.001", "3", places=4).map(str), min_size=8
    ),
    st.dictionaries(
        st.sampled_from([offered[:2] for offered in OFFERED]), st.sampled_from([0.02, 0.1, 0.25])
    ),
)
options = st.sampled_from(
    [
        (ResourceOption(),),
        (ResourceOption(Requirements(vcpus=Amount(8)), disk_gb=500),),
        (ResourceOption(Requirements(gpu_model="T4")), ResourceOption(cloud="azure")),
        (ResourceOption(market=Market.SPOT),),
        (ResourceOption(cloud="aws", region="b", max_price_per_hour_usd=Decimal(1)),),
        (ResourceOption(instance_type="gcp.32"),),
    ]
)
jobs = st.builds(
    Job,
    name=st.just("j"),
    command=st.sampled_from(["true", "python train.py"]),
    num_nodes=st.sampled_from([1, 3]),
    resources=options,
    work=st.sampled_from([None, Work(1000), Work(100_000)]),
    deadline=st.none()
    | st.builds(Deadline, st.floats(600, 40_000))
    | st.just(Deadline(at=NOW - timedelta(days=1))),
    budget_usd=st.none() | st.decimals("0.01", "9", places=2),
    checkpoint=st.none() | st.just(Checkpoint("c/", 600)),
    data=st.builds(
        Data,
        st.sampled_from([Decimal(0), Decimal(50)]),
        st.sampled_from([Decimal(0), Decimal(9)]),
        st.sampled_from(
            [
                None,
                DataLocation("aws", "b"),
                DataLocation("gcp"),
                DataLocation("azure", "elsewhere"),
            ]
        ),
    ),
    objective=st.sampled_from(ObjectiveKind).map(lambda kind: Objective(kind, Decimal("0.5"))),
)
judges = st.sampled_from(
    [
        None,
        judge_by("deny: {markets: [spot]}"),
        judge_by("allow: {clouds: [aws, gcp], regions: [a, d]}"),
        judge_by("max_price_per_hour: 0.5"),
        judge_by("max_spend_per_run: 0.05"),
        judge_by("max_carbon_per_run: 50 g"),
        judge_by("gpu_needs_reason: true"),
        judge_by("max_nodes: 1"),
    ]
)


@settings(max_examples=60)
@given(books, st.lists(st.tuples(jobs, judges), min_size=1, max_size=4), st.sampled_from([1, 10]))
def test_each_of_many_gets_the_choice_of_its_own_plan(
    book: SmallBook, asked: list[tuple[Job, Judge | None]], first: int
) -> None:
    requests = [PlanRequest(job, Evidence(job), judge=judge) for job, judge in asked]
    many = ManyPlanner(book, NOW, first)
    for request in requests:
        quick, plan = many.choose(request), Planner(book, NOW).plan(request)
        assert quick.quote == plan.choice
        if plan.choice is None:
            assert quick.plan is not None
            assert quick.plan.near_miss == plan.near_miss
            assert quick.plan.rejections == plan.rejections


class Reader:
    """An estimator that looks at the command, as a member of the registry may."""

    def estimate(self, evidence: Evidence, targets: Sequence[Target]) -> list[Prediction | None]:
        """A GPU helps those who say that they use it, and nobody else."""
        on_gpu = 0.001 if "--gpu" in evidence.job.command else 10_000.0
        return [
            Prediction(
                on_gpu if target.hardware.gpu else 100 / target.hardware.vcpus,
                0.1,
                Basis.PREDICTED,
                "the command",
            )
            for target in targets
        ]

    def guess_key(self, job: Job) -> str:
        """The command is all that is looked at."""
        return job.command


def test_an_estimator_that_reads_the_command_tells_both_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(ESTIMATORS, "datasheet", Reader())
    # More types without a GPU than are planned on at first: what is left out must be left rightly.
    usd = {
        (number, {"aws": 0, "azure": 2, "gcp": 3}[kind.cloud], Market.ON_DEMAND): str(
            kind.hardware.vcpus * (0.1 if kind.hardware.gpu else 0.05)
        )
        for number, kind in enumerate(KINDS)
    }
    planner = Planner(SmallBook(KINDS, REGIONS, usd, {}), NOW)
    commands = ("train", "train --gpu", "evaluate")
    wanted = [Job("j", command, work=Work(1000)) for command in commands]
    requests = [PlanRequest(job, Evidence(job)) for job in wanted]
    chosen = [choice.quote for choice in planner.many(requests)]
    assert chosen == [planner.plan(request).choice for request in requests]
    assert [quote and quote.instance_type for quote in chosen] == ["aws.8", "aws.2g", "aws.8"]
