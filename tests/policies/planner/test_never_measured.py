"""No price and no time of a run without a measurement of it, or a word of its user."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.books import SmallBook
from tests.support.moments import NOW
from tests.support.policies import judge_by
from tests.support.random_plans import KINDS, books, jobs

from mlbroker.broker.plan_document import plan_document
from mlbroker.policies.guardrails.judge import Judge
from mlbroker.policies.planner.plan import Plan, PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.policies.quote import Reason
from mlbroker.profiles.job import Job, ObjectiveKind
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.prediction import Basis, Evidence

judges = st.sampled_from(
    [None, judge_by("max_spend_per_run: 0.05"), judge_by("max_carbon_per_run: 50 g")]
)
# Of other jobs, and failures of this one: neither tells how long it takes.
rows = st.lists(
    st.builds(
        Measurement,
        job=st.just("other"),
        config=st.sampled_from([kind.name for kind in KINDS]),
        time_s=st.floats(1, 1e5),
        steps=st.none() | st.integers(1, 100),
    ),
    max_size=3,
)
FAILED = [Measurement("j", "aws.2", 9.0, cloud="aws", status=Status.FAILED, reason="no memory")]
# What a run costs, takes and emits, and by how much it misses a limit.
FIGURES = {"cost_usd", "duration_h", "step_time_s", "deadline_probability", "energy_kwh",
           "carbon_kgco2e", "savings_usd"}  # fmt: skip
MISSES = {"deadline_s", "budget_usd"}


def figures(document: Any, names: set[str]) -> list[tuple[str, Any]]:
    """Every value under one of these names, wherever it stands."""
    if isinstance(document, list):
        return [found for item in document for found in figures(item, names)]
    if not isinstance(document, dict):
        return []
    mine = [(name, value) for name, value in document.items() if name in names]
    return mine + [found for value in document.values() for found in figures(value, names)]


def plan_of(book: SmallBook, evidence: Evidence, judge: Judge | None = None) -> Plan:
    request = PlanRequest(evidence.job, evidence, judge=judge, top=0, explain=True)
    return Planner(book, NOW).plan(request)


@settings(max_examples=80, deadline=None)
@given(books, jobs, judges, rows, st.booleans())
def test_no_price_without_a_measurement_or_a_hint(
    book: SmallBook, job: Job, judge: Judge | None, others: list[Measurement], failed: bool
) -> None:
    plan = plan_of(book, Evidence(job, FAILED if failed else (), others), judge)
    document = json.loads(json.dumps(plan_document(plan, explain=True)))
    told = figures(document, FIGURES) + figures(document.get("near_miss"), MISSES)
    known = any(value is not None for _, value in told)
    assert not known or job.takes is not None
    if job.takes is None and not plan.constraints.deadline_has_passed:
        assert not plan.known
        for quote in plan.quotes:
            assert quote.basis is Basis.UNKNOWN
        limits = {Reason.TOO_SLOW, Reason.OVER_BUDGET, Reason.INTERRUPTED_TOO_OFTEN}
        assert not limits & plan.rejections.keys()
        asked = [name for name in ("deadline", "budget") if name in plan.unjudged]
        expected = [("deadline", job.deadline), ("budget", job.budget_usd)]
        assert asked == [name for name, limit in expected if limit is not None]
        if judge is not None and plan.choice is not None:
            assert set(judge.policy.rules) <= set(plan.unjudged)
        if job.objective.kind is ObjectiveKind.COST:
            hourly = [quote.hourly_usd + quote.once_usd for quote in plan.quotes]
            assert hourly == sorted(hourly)
    elif plan.choice is not None:
        assert plan.known
        assert plan.choice.cost_usd is not None
        assert plan.choice.basis is Basis.STATED


@settings(max_examples=20, deadline=None)
@given(books, jobs)
def test_every_limit_that_is_judged_once_something_is_known(book: SmallBook, job: Job) -> None:
    row = Measurement("j", "aws.4", 0.5, steps=1000, cloud="aws", instance_type="aws.4")
    if job.num_nodes == 1:
        plan = plan_of(book, Evidence(job, [row]))
        assert plan.known
        assert plan.unjudged == ()
