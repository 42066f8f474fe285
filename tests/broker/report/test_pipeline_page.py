"""A pipeline's page: a bar a stage, the longest path, the deadline, and nothing unescaped."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from tests.support.plan_pages import some_book, some_plan

from mlbroker.broker.report import library
from mlbroker.broker.report.pipeline_page import pipeline_page
from mlbroker.policies.pipeline.interface import Option, Problem, Stage
from mlbroker.policies.pipeline.planning import ChosenStage, Planned
from mlbroker.policies.pipeline.schedule import timetable
from mlbroker.policies.pipeline.solve import solve
from mlbroker.profiles.job import Job

PLAN = some_plan(some_book())
HOSTILE = "</script><img src=x onerror=alert(1)>"
LIMITS = Job(name=HOSTILE, command="", confidence=0.9)

built = pytest.mark.skipif(
    not (library.FOLDER / library.LIBRARY).exists(), reason="the chart library was not built"
)


def planned(deadline_s: float | None, hours: tuple[float, ...] = (1, 2, 1)) -> Planned:
    needs = ((), (0,), (0,))
    stages = [
        Stage(f"{HOSTILE}{n}", needs[n], [Option(hour * 3600, 1.0, 1.0, 1.0)])
        for n, hour in enumerate(hours)
    ]
    problem = Problem(stages, deadline_s=deadline_s)
    solution = solve(problem)
    plan = Planned([[PLAN.quotes[0]]] * len(stages), problem, solution)
    if solution.selection is None:
        return plan
    table = timetable(problem, [stage.options[0] for stage in stages])
    times = zip(table.starts_s, table.ends_s, table.slack_s, strict=True)
    quote = PLAN.quotes[0]._replace(instance_type=HOSTILE)
    chosen = [ChosenStage(quote, Decimal(1), Decimal(0), None, *each) for each in times]
    return plan._replace(chosen=chosen, table=table)


def drawn(plan: Planned) -> str:
    return pipeline_page(LIMITS, plan, datetime(2026, 11, 29, tzinfo=UTC), PLAN.snapshot)


@built
def test_names_that_are_markup_stay_text() -> None:
    text = drawn(planned(4 * 3600))
    assert "<img src=x" not in text
    assert "&lt;img" in text


@built
def test_the_deadline_is_drawn_where_it_is_near_and_said_where_it_is_far() -> None:
    near, far, none = (drawn(planned(limit)) for limit in (4 * 3600.0, 99 * 3600.0, None))
    # In the title and in a heading as well as beside the line.
    assert near.count("deadline 4h") > far.count("deadline 4d3h")
    assert "The deadline is 4d" in far
    assert "deadline" not in none.split("<main", 1)[1].split("<script", 1)[0].lower()


@built
def test_only_the_stages_of_the_longest_path_stand_out() -> None:
    text = drawn(planned(None))
    assert text.count("has slack") >= 1
    assert f"{HOSTILE}0 → {HOSTILE}1".replace("<", "&lt;").replace(">", "&gt;") in text


def test_what_would_do_is_told_where_nothing_does() -> None:
    text = drawn(planned(600))
    assert "Nothing chosen" in text
    assert "would do" in text
