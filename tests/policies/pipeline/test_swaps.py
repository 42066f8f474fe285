"""Swaps: from any selection to one that keeps the limits, and never to a dearer one."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.support.pipelines import random_problem

from mlbroker.policies.pipeline.fronts import front
from mlbroker.policies.pipeline.interface import Option, Problem, Selection, Stage
from mlbroker.policies.pipeline.rows import Found, Rows
from mlbroker.policies.pipeline.schedule import Simulator, keeps_limits
from mlbroker.policies.pipeline.solve import solve
from mlbroker.policies.pipeline.swaps import Swaps


def bettered(problem: Problem, picks: list[int], left_s: float = math.inf) -> Selection | None:
    kept = [front(problem, number) for number in range(len(problem.stages))]
    return Swaps(problem, kept, Simulator(problem)).bettered(picks, lambda: left_s)


def by(problem: Problem, what: str) -> list[int]:
    """Each stage's least option by itself, of a front."""
    return [
        min(front(problem, number), key=lambda pick: getattr(stage.options[pick], what))
        for number, stage in enumerate(problem.stages)
    ]


@pytest.fixture(scope="module", params=[1, 2, 3])
def problem(request: pytest.FixtureRequest) -> Problem:
    return random_problem(request.param, stages=25, options=40, confidence=0.9)


def test_the_quickest_is_made_cheaper_and_still_keeps_the_limits(problem: Problem) -> None:
    problem = replace(problem, budget_usd=None)
    quickest = Simulator(problem).selection(by(problem, "mean_s"))
    found = bettered(problem, list(quickest.picks))
    assert found is not None
    assert keeps_limits(problem, found)
    assert found == Simulator(problem).selection(found.picks)
    assert found.score < 0.8 * quickest.score


def test_the_cheapest_is_made_quick_enough(problem: Problem) -> None:
    problem = replace(problem, budget_usd=None)
    cheapest = Simulator(problem).selection(by(problem, "score"))
    assert not keeps_limits(problem, cheapest)
    found = bettered(problem, list(cheapest.picks))
    assert found is not None
    assert keeps_limits(problem, found)


def test_of_few_choices_the_programme_finds_no_dearer_one(problem: Problem) -> None:
    problem = replace(problem, budget_usd=None)
    looks = iter(range(10_000))
    best = solve(problem, 25, lambda: float(next(looks))).selection
    alone = bettered(problem, by(problem, "mean_s"))
    assert best is not None
    assert alone is not None
    assert keeps_limits(problem, best)
    assert best.score <= alone.score


def test_of_many_choices_one_is_found_by_swaps_where_the_programme_has_no_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = replace(random_problem(2, stages=60, options=60, confidence=0.9), budget_usd=None)
    solved = Rows.milp

    def relaxed_alone(
        rows: Rows, binaries: int, out: Sequence[int] | None, seconds: float
    ) -> Found | None:
        return None if binaries else solved(rows, binaries, out, seconds)

    monkeypatch.setattr(Rows, "milp", relaxed_alone)
    looks = itertools.count()
    found = solve(problem, 10_000, lambda: float(next(looks)))
    assert found.selection is not None
    assert keeps_limits(problem, found.selection)
    quickest = Simulator(problem).selection(by(problem, "mean_s"))
    assert found.selection.score < 0.8 * quickest.score


def test_without_time_nothing_is_swapped(problem: Problem) -> None:
    assert bettered(problem, by(problem, "score"), left_s=0.0) is None


def test_what_no_option_can_keep_is_not_found() -> None:
    ways = [Option(100, 10, 5.0, 5.0), Option(300, 10, 1.0, 1.0)]
    problem = Problem([Stage("one", (), ways), Stage("two", (0,), ways)], {}, 150.0)
    assert bettered(problem, [1, 1]) is None
    assert bettered(replace(problem, deadline_s=700.0), [0, 0]) == Simulator(
        replace(problem, deadline_s=700.0)
    ).selection([1, 1])
