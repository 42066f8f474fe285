"""What every rule of the policy file promises: it is asked wherever a run is judged, refuses what
nobody knows, and says nothing of what is not decided yet.
"""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from tests.support.books import SmallBook
from tests.support.moments import NOW
from tests.support.policies import ADA, judge_by

from mlbroker.broker.errors import RefusedError
from mlbroker.broker.files.policy_file import parse_policy
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.runs.admission import PolicyAdmission, admitted, subject_of
from mlbroker.broker.runs.launch_options import planned
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.policies.guardrails import RULES
from mlbroker.policies.guardrails.interface import (
    UNDECIDED,
    Reservation,
    Rule,
    RunContext,
    Section,
    Subject,
)
from mlbroker.policies.guardrails.judge import Hit, Judge, Policy
from mlbroker.policies.planner.plan import PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.pricing.offer import Gpu, Hardware, InstanceType, Market
from mlbroker.pricing.region import Region
from mlbroker.profiles.job import Job, ResourceOption, StatedTime, Work
from mlbroker.profiles.prediction import Evidence
from mlbroker.testing.guardrails import Case, Guardrail, GuardrailSuite

CASES = {
    "deny": Case("{instance_types: [gpu.*]}", "{clouds: [gcp]}"),
    "allow": Case("{instance_types: [cpu.*]}", "{clouds: [aws]}"),
    "max_nodes": Case("7", "8"),
    "max_price_per_hour": Case("1 USD", "1000 USD"),
    "max_carbon_per_run": Case("1 g", "1000 t"),
    "max_spend_per_run": Case("0.01 USD", "1000 USD"),
    "gpu_needs_reason": Case("true", "false"),
    "max_spend_per_day": Case("0.5 USD", "1000 USD", at_reservation=True),
    "max_spend_per_month": Case("{users: {ada: 0.5}}", "1000 USD", at_reservation=True),
    "approve_above": Case("0.5 USD", "1000 USD", at_reservation=True),
}
GPU = Gpu("T4", 16, 8.1, 65.0, 320.0, 70.0)
BOOK = SmallBook(
    [
        InstanceType("aws", "cpu.large", Hardware(8, 32, "x86_64")),
        InstanceType("aws", "gpu.large", Hardware(8, 32, "x86_64", gpu=GPU, gpu_count=1)),
    ],
    [Region("aws", "eu-1", "eu", grid_kgco2e_per_kwh=0.4, pue=1.1)],
    {(0, 0, Market.ON_DEMAND): "0.40", (1, 0, Market.ON_DEMAND): "0.60"},
    {},
)
JOB = Job("j", "true", num_nodes=8, work=Work(20_000), takes=StatedTime(7200, "gpu.large"))


def test_every_rule_has_its_case() -> None:
    assert list(CASES) == list(RULES)


def rule_of(key: str, value: str) -> Rule | None:
    return parse_policy(f"{key}: {value}", "p.yaml").rules.get(key)


class TestGuardrail(GuardrailSuite):
    @pytest.fixture(params=RULES)
    def guardrail(self, request: pytest.FixtureRequest) -> Guardrail:
        key = request.param
        return Guardrail(key, RULES[key], CASES[key])


@dataclass(frozen=True)
class Recorded(Rule):
    """A rule that keeps what it was asked."""

    rule: Rule
    asked: list[tuple[Subject, RunContext]]

    @property
    def compares(self) -> bool:  # type: ignore[override]
        return self.rule.compares

    @classmethod
    def read(cls, file: Section, key: str) -> "Recorded":
        raise NotImplementedError

    def why_not(self, subject: Subject, run: RunContext) -> str | None:
        self.asked.append((subject, run))
        return self.rule.why_not(subject, run)


def recorded(key: str, value: str) -> tuple[Judge, list[tuple[Subject, RunContext]]]:
    asked: list[tuple[Subject, RunContext]] = []
    rule = rule_of(key, value)
    assert rule is not None
    return Judge(Policy("p.yaml", {key: Recorded(rule, asked)}), ADA, None), asked


def options() -> tuple[LaunchOption, ...]:
    """A plan's machines as a run may launch them, the GPU first."""
    quotes = Planner(BOOK, NOW).plan(PlanRequest(JOB, Evidence(JOB), top=0)).quotes
    found = planned(JOB, quotes, BOOK, {"aws"})
    return tuple(sorted(found, key=lambda option: option.instance_type, reverse=True))


def at_plan(judge: Judge, home: Path) -> set[str]:
    plan = Planner(BOOK, NOW).plan(PlanRequest(JOB, Evidence(JOB), judge=judge, top=0))
    return {quote.instance_type for quote in plan.quotes}


def at_check(judge: Judge, home: Path) -> set[str]:
    gpu = replace(JOB, resources=(ResourceOption(instance_type="gpu.large"),))
    cpu = replace(JOB, resources=(ResourceOption(instance_type="cpu.large"),))
    if judge.compares:  # both machines must be in the running
        gpu = cpu = JOB
    requests = [PlanRequest(job, Evidence(job), judge=judge) for job in (gpu, cpu)]
    quotes = [choice.quote for choice in Planner(BOOK, NOW).many(requests)]
    return {quote.instance_type for quote in quotes if quote is not None}


def before_launch(judge: Judge, home: Path) -> set[str]:
    try:
        return {option.instance_type for option in admitted(judge, options())}
    except RefusedError:
        return set()


def at_reservation(judge: Judge, home: Path) -> set[str]:
    admission = PolicyAdmission(judge, options(), "j", Decimal(1))
    body = {"job": "j", "user": "ada", "project": "search", "cap_usd": "1", "reserved_usd": "1"}
    try:
        open_ledger(home).reserve(datetime.now(UTC), "r1", body, admission)
    except RefusedError:
        return set()
    return {option.instance_type for option in options()}


PLACES: dict[str, Callable[[Judge, Path], set[str]]] = {
    "plan": at_plan,
    "check": at_check,
    "before launch": before_launch,
    "reservation": at_reservation,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("key", RULES)
def test_it_is_asked_wherever_a_run_is_judged(key: str, place: str, tmp_path: Path) -> None:
    case = CASES[key]
    judge, asked = recorded(key, case.forbids)
    left = PLACES[place](judge, tmp_path)
    assert asked, f"{key} is not consulted at {place}"
    assert all(subject.nodes == 8 for subject, _ in asked)
    money = place == "reservation"
    if case.at_reservation:
        assert any(run.reservation is not UNDECIDED for _, run in asked) == money
    assert ("gpu.large" in left) == (case.at_reservation and not money)
    if rule_of(key, case.allows) is not None:
        allowing, _ = recorded(key, case.allows)
        (tmp_path / "allowing").mkdir()
        assert PLACES[place](allowing, tmp_path / "allowing") == {"cpu.large", "gpu.large"}


def test_without_rules_everything_passes(tmp_path: Path) -> None:
    for place in PLACES.values():
        assert place(judge_by("{}"), tmp_path)


@pytest.mark.parametrize("kind", [Subject, RunContext, Reservation])
def test_nothing_a_rule_looks_at_can_be_left_out(kind: type) -> None:
    """With a default, a constructor that forgets a field would let a rule see a wrong value."""
    assert all(
        field.default is MISSING and field.default_factory is MISSING for field in fields(kind)
    )
    with pytest.raises(TypeError, match=r"nodes|who|job"):
        kind()


def test_eight_nodes_stay_eight_nodes_on_their_way_to_the_rules() -> None:
    """From a quote, from what is launched, and from what is only compared."""
    kind = BOOK.kinds[0]
    quotes = Planner(BOOK, NOW).plan(PlanRequest(JOB, Evidence(JOB), top=0)).quotes
    (quote,) = (quote for quote in quotes if quote.instance_type == kind.name)
    subjects = [
        Subject.of_quote(quote, kind),
        subject_of(options()[-1]),
        Subject.screened(
            kind, Market.ON_DEMAND, 8, 0.4, region="eu-1", cost_usd=1.0, carbon_kg=None
        ),
    ]
    for subject in subjects:
        assert (subject.nodes, subject.price_per_hour_usd) == (8, Decimal("3.2"))
        assert judge_by("max_nodes: 1").machine(subject) == Hit(
            "max_nodes", "8 nodes are more than 1"
        )
    assert subjects[0] == replace(subjects[1])
