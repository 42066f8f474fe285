"""Each offer that is out bears the code of what put it out, and a person is told the same."""

import json
from collections.abc import Callable
from decimal import Decimal
from importlib.resources import files
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.books import SmallBook
from tests.support.moments import NOW
from tests.support.policies import judge_by

from mlbroker.broker.plan_words import REASON_WORDS, way_out
from mlbroker.policies.candidates import Filters
from mlbroker.policies.planner.plan import Plan, PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.policies.quote import Reason
from mlbroker.pricing.book import Requirements
from mlbroker.pricing.offer import Hardware, InstanceType, Market
from mlbroker.pricing.region import Region
from mlbroker.profiles.job import Job, ResourceOption, Work
from mlbroker.profiles.prediction import Evidence

KINDS = [
    InstanceType("aws", "a.large", Hardware(8, 32, "x86_64")),
    InstanceType("aws", "old.large", Hardware(8, 32, "x86_64"), retired=True),
    InstanceType("gcp", "g-8", Hardware(8, 32, "x86_64")),
    InstanceType("gcp", "g-64", Hardware(64, 256, "x86_64")),
]
USD = {0: "0.40", 1: "0.20", 2: "0.30", 3: "3.00"}
BOOK = SmallBook(
    KINDS,
    [Region("aws", "us-1", "us"), Region("gcp", "eu-1", "eu")],
    {
        (number, int(kind.cloud == "gcp"), Market.ON_DEMAND): USD[number]
        for number, kind in enumerate(KINDS)
    },
    {},
)


class Circumstances(NamedTuple):
    """What flags, the job file and the policy file say."""

    flag_clouds: tuple[str, ...] = ()
    flag_types: tuple[str, ...] = ()
    pin_cloud: str | None = None
    pin_type: str | None = None
    ceiling: Decimal | None = None
    denied: tuple[str, ...] = ()

    @property
    def job(self) -> Job:
        option = ResourceOption(
            Requirements(),
            cloud=self.pin_cloud,
            instance_type=self.pin_type,
            market=Market.ON_DEMAND,
            max_price_per_hour_usd=self.ceiling,
        )
        return Job("j", "true", work=Work(20_000), resources=(option,))

    def plan(self) -> Plan:
        policy = f"deny: {{instance_types: [{', '.join(self.denied)}]}}" if self.denied else "{}"
        return Planner(BOOK, NOW).plan(
            PlanRequest(
                self.job,
                Evidence(self.job),
                Filters(self.flag_clouds, (), (Market.ON_DEMAND,), self.flag_types),
                judge=judge_by(policy),
                top=0,
                explain=True,
            )
        )


def names_of(plan: Plan, reason: Reason) -> set[str]:
    return {item.instance_type for item in plan.rejected if item.reason is reason}


@pytest.mark.parametrize(
    ("what", "reason", "out"),
    [
        (Circumstances(flag_clouds=("aws",)), Reason.EXCLUDED_BY_FLAG, {"g-8", "g-64"}),
        (Circumstances(flag_types=("a.large",)), Reason.EXCLUDED_BY_FLAG,
         {"old.large", "g-8", "g-64"}),
        (Circumstances(pin_cloud="gcp"), Reason.EXCLUDED_BY_PIN, {"a.large", "old.large"}),
        (Circumstances(pin_type="g-8"), Reason.EXCLUDED_BY_PIN, {"a.large", "old.large", "g-64"}),
        (Circumstances(), Reason.RETIRED, {"old.large"}),
        (Circumstances(ceiling=Decimal(1)), Reason.ABOVE_PRICE_CEILING, {"g-64"}),
        (Circumstances(denied=("g-*",)), Reason.FORBIDDEN_BY_POLICY, {"g-8", "g-64"}),
    ],
)  # fmt: skip
def test_each_cause_has_its_code(what: Circumstances, reason: Reason, out: set[str]) -> None:
    plan = what.plan()
    assert names_of(plan, reason) == out
    assert plan.rejections[reason] == len(out)


NAMES = [kind.name for kind in KINDS]
circumstances = st.builds(
    Circumstances,
    flag_clouds=st.sampled_from([(), ("aws",), ("gcp",)]),
    flag_types=st.lists(st.sampled_from(NAMES), max_size=2).map(tuple),
    pin_cloud=st.sampled_from([None, "aws", "gcp"]),
    pin_type=st.sampled_from([None, *NAMES]),
    ceiling=st.none() | st.sampled_from(["0.25", "0.35", "1"]).map(Decimal),
    denied=st.lists(st.sampled_from(NAMES), max_size=3).map(tuple),
)
# In this order they are asked: an offer bears the first that holds.
CAUSES: dict[Reason, Callable[[Circumstances, int], bool]] = {
    Reason.EXCLUDED_BY_FLAG: lambda c, n: (
        bool(c.flag_clouds and KINDS[n].cloud not in c.flag_clouds)
        or bool(c.flag_types and NAMES[n] not in c.flag_types)
    ),
    Reason.EXCLUDED_BY_PIN: lambda c, n: (
        c.pin_cloud not in (None, KINDS[n].cloud) or c.pin_type not in (None, NAMES[n])
    ),
    Reason.RETIRED: lambda c, n: (
        KINDS[n].retired and NAMES[n] not in c.flag_types and NAMES[n] != c.pin_type
    ),
    Reason.ABOVE_PRICE_CEILING: lambda c, n: c.ceiling is not None and Decimal(USD[n]) > c.ceiling,
    Reason.FORBIDDEN_BY_POLICY: lambda c, n: NAMES[n] in c.denied,
}


@given(circumstances)
def test_every_code_is_that_of_its_cause(what: Circumstances) -> None:
    plan = what.plan()
    told = {item.instance_type: item.reason for item in plan.rejected}
    told |= {quote.instance_type: None for quote in plan.quotes}  # type: ignore[dict-item]
    assert told == {
        name: next((reason for reason, holds in CAUSES.items() if holds(what, number)), None)
        for number, name in enumerate(NAMES)
    }


def test_every_code_has_its_words_and_stands_in_the_schema() -> None:
    schema = json.loads(files("mlbroker.broker.schemas").joinpath("plan.json").read_text("utf-8"))
    assert set(REASON_WORDS) == set(Reason)
    assert set(schema["$defs"]["reason"]["enum"]) == {str(reason) for reason in Reason}


def test_a_policy_that_forbids_everything_is_told_as_that() -> None:
    """Not as the spot prices that the book lacks: what it forbids would do."""
    job = Job("j", "true", work=Work(20_000))
    judge = judge_by("deny: {clouds: '*'}")
    plan = Planner(BOOK, NOW).plan(PlanRequest(job, Evidence(job), judge=judge))
    assert plan.choice is None
    assert plan.rejections[Reason.PRICE_MISSING] == plan.rejections[Reason.FORBIDDEN_BY_POLICY] == 3
    told = way_out(plan)
    assert told == "the policy forbids 3 offers that would do (a.large: deny: cloud aws is denied)"
