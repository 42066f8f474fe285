"""The policy's rules, one by one and against a plain re-statement."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.policies import ADA, CPU, judge_by

from mlbroker.policies.guardrails.caps import Caps
from mlbroker.policies.guardrails.interface import (
    UNDECIDED,
    UNKNOWN,
    Approval,
    Committed,
    Reservation,
    Who,
)
from mlbroker.policies.guardrails.judge import Hit, Judge, Policy
from mlbroker.policies.guardrails.max_spend_per_period import MaxSpendPerPeriod

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
GPU = replace(CPU, instance_type="g6.xlarge", gpu=True, cost_usd=Decimal(2))


@pytest.mark.parametrize(
    ("text", "hit"),
    [
        ("{}", None),
        ("max_price_per_hour: 0.1", None),
        ("max_price_per_hour: 0.09", "max_price_per_hour"),
        ("max_nodes: 1", None),
        ("allow: {clouds: [aws], regions: [eu-*]}", None),
        ("allow: {regions: [us-*]}", "allow"),
        ("allow: {families: [m7g, g6]}", None),
        ("allow: {markets: [on_demand]}", "allow"),
        ("deny: {instance_types: [m7*]}", "deny"),
        ("deny: {clouds: [gcp], markets: [spot]}", "deny"),
        ("max_carbon_per_run: 500 g", None),
        ("max_carbon_per_run: 400 g", "max_carbon_per_run"),
        ("max_spend_per_run: 3", None),
        ("max_spend_per_run: {users: {ada: 2}}", "max_spend_per_run"),
        ("max_spend_per_run: {users: {bob: 2}}", None),
        ("max_spend_per_run: {per_project: 2}", "max_spend_per_run"),
    ],
)
def test_each_rule_on_a_machine(text: str, hit: str | None) -> None:
    found = judge_by(text).machine(CPU)
    assert (found.rule if found else None) == hit


def test_unknown_carbon_is_not_zero() -> None:
    found = judge_by("max_carbon_per_run: 9 kg").machine(replace(CPU, carbon_kg=UNKNOWN))
    assert found is not None
    assert "not known" in found.why


def test_what_a_region_decides_is_not_judged_before_it() -> None:
    """A machine that may be allowed somewhere is not forbidden; one that may be nowhere is."""
    anywhere = replace(CPU, region=UNDECIDED, carbon_kg=UNDECIDED, cost_usd=UNDECIDED)
    waiting = "deny: {regions: ['*']}\nmax_carbon_per_run: 1 g\nmax_spend_per_run: 0.01"
    assert judge_by(waiting).machine(anywhere) is None
    found = judge_by("allow: {regions: [eu-*], clouds: [gcp]}").machine(anywhere)
    assert found == Hit("allow", "cloud aws is not among those allowed")


def test_a_gpu_needs_a_reason_only_beside_a_feasible_cpu() -> None:
    rule = "gpu_needs_reason: true"
    gpu, cpu = judge_by(rule).machines([GPU, CPU])
    assert cpu is None
    assert gpu is not None
    assert "m7g.large meets the deadline" in gpu.why
    assert judge_by(rule, reason="mixed precision").machines([GPU, CPU]) == [None, None]
    assert judge_by(rule).machines([GPU]) == [None]
    assert judge_by("{}").machines([GPU, CPU]) == [None, None]
    # A machine without a GPU that is forbidden is no alternative.
    gpu, cpu = judge_by(rule + "\ndeny: {families: [m7g]}").machines([GPU, CPU])
    assert (gpu, cpu and cpu.rule) == (None, "deny")


amounts = st.integers(0, 50).map(Decimal)
people = st.sampled_from(["ada", "bob"])
projects = st.sampled_from(["search", "ads", None])
times = st.integers(0, 60 * 24).map(lambda hours: NOW - timedelta(hours=hours))
rows = st.builds(
    Committed, st.builds(Who, people, projects), times, st.booleans(), amounts
)  # fmt: skip
limits = st.builds(
    Caps,
    total=st.none() | amounts,
    per_user=st.none() | amounts,
    per_project=st.none() | amounts,
    users=st.dictionaries(people, amounts),
    projects=st.dictionaries(st.sampled_from(["search", "ads"]), amounts),
)


@given(limits, limits, st.lists(rows, max_size=12), people, projects, amounts)
def test_caps_against_a_plain_restatement(
    daily: Caps,
    monthly: Caps,
    held: list[Committed],
    user: str,
    project: str | None,
    usd: Decimal,
) -> None:
    rules = {
        "max_spend_per_day": MaxSpendPerPeriod(daily, whole_month=False),
        "max_spend_per_month": MaxSpendPerPeriod(monthly, whole_month=True),
    }
    judge = Judge(Policy("p.yaml", rules), Who(user, project), None)
    found = judge.spending(CPU, Reservation("bert", NOW, usd, tuple(held), ()))

    def breaks(limit: Caps, counted: list[Committed]) -> bool:
        mine = sum(c.usd for c in counted if c.who.user == user)
        ours = sum(c.usd for c in counted if c.who.project == project)
        everybody = sum(c.usd for c in counted)
        user_cap = limit.users.get(user, limit.per_user)
        project_cap = limit.projects.get(project or "", limit.per_project)
        return (
            (limit.total is not None and everybody + usd > limit.total)
            or (user_cap is not None and mine + usd > user_cap)
            or (project_cap is not None and ours + usd > project_cap)
        )

    today = [c for c in held if c.open or c.at.date() == NOW.date()]
    month = [c for c in held if c.open or (c.at.year, c.at.month) == (NOW.year, NOW.month)]
    expected = "max_spend_per_day" if breaks(daily, today) else None
    if expected is None and breaks(monthly, month):
        expected = "max_spend_per_month"
    assert (found.rule if found else None) == expected


def test_approvals_admit_what_they_say() -> None:
    judge = judge_by("approve_above: 10\napprovers: [grace]")
    good = Approval("a1", "bert", "ada", Decimal(20), "grace", NOW + timedelta(days=1))

    def answer(usd: int, *approvals: Approval) -> Hit | Approval | None:
        return judge.reservation([CPU], Reservation("bert", NOW, Decimal(usd), (), approvals))

    assert answer(10) is None
    assert answer(15, good) == good
    for other in (
        replace(good, job="other"),
        replace(good, user="bob"),
        replace(good, up_to_usd=Decimal(14)),
        replace(good, by="ada"),
        replace(good, expires_at=NOW),
    ):
        hit = answer(15, other)
        assert isinstance(hit, Hit)
        assert "grace" in hit.why


def test_a_run_that_may_fall_over_to_a_forbidden_machine_is_refused() -> None:
    """The reservation is for all machines of the order, not only the first."""
    judge = judge_by("max_nodes: 1")
    held = Reservation("bert", NOW, Decimal(1), (), ())
    assert judge.reservation([CPU], held) is None
    hit = judge.reservation([CPU, replace(CPU, nodes=8)], held)
    assert hit == Hit("max_nodes", "8 nodes are more than 1")
    assert judge.who == ADA
