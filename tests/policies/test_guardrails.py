"""The policy's rules, one by one and against a plain re-statement."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbroker.policies.guardrails import (
    Approval,
    Committed,
    Hit,
    Limit,
    Machine,
    Match,
    Policy,
    Who,
    approval_for,
    family,
    gpu_hits,
    machine_hit,
    spend_hit,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ADA = Who("ada", "search")
CPU = Machine(
    "aws", "eu-west-1", "m7g.large", "spot", Decimal("0.1"), False, Decimal(3), carbon_kg=0.5
)
GPU = replace(CPU, instance_type="g6.xlarge", gpu=True, cost_usd=Decimal(2))


def policy(**rules: object) -> Policy:
    return Policy("p.yaml", **rules)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rules", "hit"),
    [
        ({}, None),
        ({"max_price_per_hour_usd": Decimal("0.1")}, None),
        ({"max_price_per_hour_usd": Decimal("0.09")}, "max_price_per_hour"),
        ({"allow": Match(clouds=("aws",), regions=("eu-*",))}, None),
        ({"allow": Match(regions=("us-*",))}, "allow"),
        ({"allow": Match(families=("m7g", "g6"))}, None),
        ({"allow": Match(markets=("on_demand",))}, "allow"),
        ({"deny": Match(instance_types=("m7*",))}, "deny"),
        ({"deny": Match(clouds=("gcp",), markets=("spot",))}, "deny"),
        ({"max_carbon_per_run_kg": 0.5}, None),
        ({"max_carbon_per_run_kg": 0.4}, "max_carbon_per_run"),
        ({"max_spend_per_run": Limit(total=Decimal(3))}, None),
        ({"max_spend_per_run": Limit(users={"ada": Decimal(2)})}, "max_spend_per_run"),
        ({"max_spend_per_run": Limit(users={"bob": Decimal(2)})}, None),
        ({"max_spend_per_run": Limit(per_project=Decimal(2))}, "max_spend_per_run"),
    ],
)
def test_each_rule_on_a_machine(rules: dict[str, object], hit: str | None) -> None:
    found = machine_hit(policy(**rules), CPU, ADA)
    assert (found.rule if found else None) == hit


def test_unknown_carbon_is_not_zero() -> None:
    found = machine_hit(policy(max_carbon_per_run_kg=9.0), replace(CPU, carbon_kg=None), ADA)
    assert found is not None
    assert "not known" in found.why


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("m7g.large", "m7g"),
        ("n1-standard-4", "n1"),
        ("Standard_D4s_v5", "D"),
        ("Standard_NC24ads_A100_v4", "NC"),
        ("local", "local"),
    ],
)
def test_families(name: str, expected: str) -> None:
    assert family(name) == expected


def test_a_gpu_needs_a_reason_only_beside_a_feasible_cpu() -> None:
    rules = policy(gpu_needs_reason=True)
    hits = gpu_hits(rules, [GPU, CPU], None)
    assert list(hits) == [0]
    assert "m7g.large meets the deadline" in hits[0].why
    assert gpu_hits(rules, [GPU, CPU], "mixed precision") == {}
    assert gpu_hits(rules, [GPU], None) == {}
    assert gpu_hits(policy(), [GPU, CPU], None) == {}


amounts = st.integers(0, 50).map(Decimal)
people = st.sampled_from(["ada", "bob"])
projects = st.sampled_from(["search", "ads", None])
times = st.integers(0, 60 * 24).map(lambda hours: NOW - timedelta(hours=hours))
rows = st.builds(
    Committed, st.builds(Who, people, projects), times, st.booleans(), amounts
)  # fmt: skip
limits = st.builds(
    Limit,
    total=st.none() | amounts,
    per_user=st.none() | amounts,
    per_project=st.none() | amounts,
    users=st.dictionaries(people, amounts),
    projects=st.dictionaries(st.sampled_from(["search", "ads"]), amounts),
)


@given(limits, limits, st.lists(rows, max_size=12), people, projects, amounts)
def test_caps_against_a_plain_restatement(
    daily: Limit,
    monthly: Limit,
    held: list[Committed],
    user: str,
    project: str | None,
    usd: Decimal,
) -> None:
    rules = policy(max_spend_per_day=daily, max_spend_per_month=monthly)
    found = spend_hit(rules, held, NOW, Who(user, project), usd)

    def breaks(limit: Limit, counted: list[Committed]) -> bool:
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
    rules = policy(approve_above_usd=Decimal(10), approvers=("grace",))
    good = Approval("a1", "bert", "ada", Decimal(20), "grace", NOW + timedelta(days=1))
    ask = (NOW, "bert", ADA, Decimal(15))
    assert approval_for(rules, [], NOW, "bert", ADA, Decimal(10)) is None
    assert approval_for(rules, [good], *ask) == good
    for other in (
        replace(good, job="other"),
        replace(good, user="bob"),
        replace(good, up_to_usd=Decimal(14)),
        replace(good, by="ada"),
        replace(good, expires_at=NOW),
    ):
        hit = approval_for(rules, [other], *ask)
        assert isinstance(hit, Hit)
        assert "grace" in hit.why
