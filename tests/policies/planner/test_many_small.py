"""Many jobs on small random books: each gets the choice that a plan of its own makes."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.books import SmallBook
from tests.support.moments import NOW
from tests.support.policies import judge_by
from tests.support.random_plans import KINDS, REGIONS, books, jobs

from mlbroker.policies.guardrails.judge import Judge
from mlbroker.policies.planner.many import ManyPlanner
from mlbroker.policies.planner.plan import PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.pricing.offer import Hardware, InstanceType, Market
from mlbroker.pricing.region import Region
from mlbroker.profiles.estimators import ESTIMATORS
from mlbroker.profiles.job import (
    Job,
    Work,
)
from mlbroker.profiles.prediction import Basis, Evidence, Prediction, Target

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


@pytest.mark.parametrize("first", [1, 10])
def test_a_type_that_cannot_be_launched_is_chosen_by_neither(first: int) -> None:
    """However cheap: Google sells small A3 machines as spot only, and bare metal never so."""
    kinds = [
        InstanceType("gcp", name, Hardware(8, 32, "x86_64"))
        for name in ("a3-highgpu-1g", "c3-standard-192-metal", "n2-standard-8")
    ]
    prices = {
        (0, 0, Market.ON_DEMAND): "0.01",
        (1, 0, Market.SPOT): "0.02",
        (2, 0, Market.ON_DEMAND): "1.00",
    }
    book = SmallBook(kinds, [Region("gcp", "us-central1", "us")], prices, {})
    job = Job("j", "true", work=Work(1000))
    request = PlanRequest(job, Evidence(job))
    quick = ManyPlanner(book, NOW, first).choose(request).quote
    assert quick is not None
    assert quick == Planner(book, NOW).plan(request).choice
    assert quick.instance_type == "n2-standard-8"


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
