"""How many machines: the best of the plans for each number, and never one whose time is unknown."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.books import SmallBook
from tests.support.moments import NOW

from mlbroker.policies.objective import quote_key
from mlbroker.policies.planner.node_counts import AtCount, at_counts, best_count
from mlbroker.policies.planner.plan import PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.pricing.offer import Hardware, InstanceType, Market
from mlbroker.pricing.region import Region
from mlbroker.profiles.job import Deadline, Job, Objective, ObjectiveKind, Work
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Evidence

REGION = Region("aws", "a", "us", None, Decimal("0.08"), Decimal("0.005"), Decimal("0.09"))
KIND = InstanceType("aws", "one", Hardware(8, 32, "x86_64"))
JOB = Job("j", "x", work=Work(36_000), node_counts=(1, 2, 4))
BOOK = SmallBook([KIND], [REGION], {(0, 0, Market.ON_DEMAND): "0.5"}, {})


def found(job: Job, step_s: dict[int, float]) -> list[AtCount]:
    """What the numbers of nodes do that were measured to take so long."""
    rows = tuple(
        Measurement("j", f"{n}x one", s, cloud="aws", instance_type="one", nodes=n, steps=36_000)
        for n, s in step_s.items()
    )
    jobs = [job.on_nodes(nodes) for nodes in job.node_counts]
    requests = [PlanRequest(one, Evidence(one, rows)) for one in jobs]
    return at_counts(Planner(BOOK, NOW), requests)


def test_the_fewest_are_cheapest_and_a_deadline_takes_more() -> None:
    step_s = {1: 1.0, 2: 0.6, 4: 0.4}
    assert best_count(found(JOB, step_s), 1) == 1
    hours = {12: 1, 8: 2, 5: 4}
    chosen = {h: best_count(found(replace(JOB, deadline=Deadline(h * 3600.0)), step_s), 1)
              for h in hours}  # fmt: skip
    assert chosen == hours


def test_what_was_never_measured_is_not_chosen() -> None:
    (one, two, four) = found(JOB, {2: 0.6})
    assert [at.offers for at in (one, two, four)] == [False, True, False]
    assert best_count([one, two, four], 1) == 2
    assert best_count(found(JOB, {}), 1) == 1


def test_where_nothing_is_in_time_the_own_number_stays() -> None:
    late = found(replace(JOB, deadline=Deadline(3600.0)), {1: 1.0, 2: 0.6, 4: 0.4})
    assert not any(at.offers for at in late)
    assert best_count(late, 2) == 2


@given(
    st.lists(st.floats(0.05, 2.0), min_size=3, max_size=3),
    st.sampled_from([ObjectiveKind.COST, ObjectiveKind.TIME]),
)
def test_no_other_number_is_better(times: list[float], kind: ObjectiveKind) -> None:
    objective = Objective(kind)
    counts = found(replace(JOB, objective=objective), dict(zip((1, 2, 4), times, strict=True)))
    best = best_count(counts, 1)
    keys = {at.nodes: quote_key(objective, at.plan.choice) for at in counts if at.plan.choice}
    assert keys[best] == min(keys.values())


def test_each_number_is_planned_as_a_job_of_that_many() -> None:
    (_, two, _) = found(JOB, {1: 1.0, 2: 0.6, 4: 0.4})
    assert two.plan.choice is not None
    assert two.plan.choice.nodes == 2
    assert two.plan.choice.hourly_usd == pytest.approx(Decimal("1.0"), abs=Decimal("0.05"))
