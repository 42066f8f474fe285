"""A burstable machine is taken for what its credits cover, and for nothing longer."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.books import SmallBook
from tests.support.moments import NOW

from mlbroker.policies.burst import credits_run_out
from mlbroker.policies.candidates import Filters
from mlbroker.policies.planner.plan import Plan, PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.policies.quote import Reason
from mlbroker.pricing.offer import Hardware, InstanceType, Market
from mlbroker.pricing.region import Region
from mlbroker.pricing.vendors import vendor
from mlbroker.profiles.job import Job, ResourceOption, Work
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Evidence

BURSTABLE = Hardware(2, 4, "x86_64", burstable=True)
KINDS = [
    InstanceType("aws", "t4g.medium", BURSTABLE),
    InstanceType("azure", "Standard_B2s", BURSTABLE),
    InstanceType("aws", "m6g.large", Hardware(2, 8, "x86_64")),
    InstanceType("aws", "t9.new", BURSTABLE),
]
REGIONS = [Region("aws", "a"), Region("azure", "b")]
BOOK = SmallBook(
    KINDS,
    REGIONS,
    {
        (0, 0, Market.ON_DEMAND): "0.0336",
        (1, 1, Market.ON_DEMAND): "0.0200",
        (2, 0, Market.ON_DEMAND): "0.0770",
        (3, 0, Market.ON_DEMAND): "0.0100",
    },
    {},
)


def plan(work_s: float, *kinds: str) -> Plan:
    """Of a job that was measured on each of these types, and takes so long there."""
    job = Job("j", "true", work=Work(1000))
    rows = [
        Measurement(
            "j", kind.name, work_s / 1000, steps=1000, cloud=kind.cloud, instance_type=kind.name
        )
        for kind in KINDS
    ]
    request = PlanRequest(job, Evidence(job, rows), Filters(instance_types=kinds), explain=True)
    return Planner(BOOK, NOW).plan(request)


def test_t4g_medium_does_not_win_a_job_of_five_hours() -> None:
    decided = plan(5 * 3600)
    assert decided.choice is not None
    assert decided.choice.instance_type == "m6g.large"
    assert decided.rejections[Reason.CREDITS_RUN_OUT] == 3
    out = [r for r in decided.rejected if r.reason is Reason.CREDITS_RUN_OUT]
    details = {rejection.instance_type: rejection.detail for rejection in out}
    assert details["t4g.medium"] == "it starts without credits: it runs at 20 %"
    assert details["Standard_B2s"] == "its credits last 38 min; then it runs at 20 %"
    assert "not known" in details["t9.new"]


def test_within_its_credits_a_burstable_machine_may_win_and_says_so() -> None:
    decided = plan(20 * 60)
    assert decided.choice is not None
    assert decided.choice.instance_type == "Standard_B2s"
    assert decided.choice.evidence.endswith("; on credits that last 38 min")
    longer = plan(35 * 60).choice
    assert longer is not None
    assert longer.instance_type == "m6g.large"  # set-up takes credits too


def test_no_budget_and_no_deadline_would_make_credits_last() -> None:
    decided = plan(5 * 3600, "t4g.medium")
    assert decided.choice is None
    miss = decided.near_miss
    assert miss is None or (miss.deadline_s is None and miss.budget_usd is None)


def test_who_names_a_burstable_type_is_told_what_an_hour_costs() -> None:
    """Nobody knows for how long; a measurement tells that its credits run out."""
    job = Job("j", "true", resources=(ResourceOption(instance_type="t4g.medium"),))
    choice = Planner(BOOK, NOW).plan(PlanRequest(job, Evidence(job))).choice
    assert choice is not None
    assert choice.instance_type == "t4g.medium"
    anything = replace(job, resources=(ResourceOption(),))
    other = Planner(BOOK, NOW).plan(PlanRequest(anything, Evidence(anything))).choice
    assert other is not None
    assert other.instance_type == "m6g.large"


def test_own_machines_are_as_fast_as_they_were_measured() -> None:
    assert credits_run_out(InstanceType("ssh", "nuc", BURSTABLE), 1e6) is None


@given(kind=st.sampled_from(KINDS[:2]), seconds=st.floats(1, 1e6))
def test_who_runs_at_full_speed_has_the_credits_for_it(kind: InstanceType, seconds: float) -> None:
    credits = vendor(kind.cloud).credits(kind.name)
    assert credits is not None
    spent = seconds / 60 * (1 - credits.baseline)
    covered = spent <= credits.at_launch * (1 + 1e-9)
    assert (credits_run_out(kind, seconds) is None) == covered or spent == pytest.approx(
        credits.at_launch
    )
