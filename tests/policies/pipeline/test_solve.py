"""The optimiser: as good as looking at every selection, and in time as often as was asked."""

import itertools
import random
from dataclasses import replace

import pytest
from tests.support.pipelines import brute_force, random_problem

from mlbroker.policies.pipeline.fronts import undominated
from mlbroker.policies.pipeline.interface import Link, Option, Problem, Stage
from mlbroker.policies.pipeline.schedule import Simulator, timetable
from mlbroker.policies.pipeline.solve import solve


@pytest.mark.parametrize("seed", range(12))
def test_equal_to_brute_force(seed: int) -> None:
    problem = random_problem(seed)
    found, best = solve(problem).selection, brute_force(problem)
    assert (found is None) == (best is None)
    if found is not None and best is not None:
        assert found.score == pytest.approx(best.score, rel=1e-9)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
def test_other_executions_are_in_time_as_often(confidence: float) -> None:
    problem = random_problem(7, stages=5, confidence=confidence)
    found = solve(problem).selection
    assert found is not None
    other = Simulator(problem, seed=1).selection(found.picks)
    assert other.chance is not None
    assert other.chance >= confidence - 0.01


def two(
    gb: float = 0.0, deadline_s: float | None = None, budget_usd: float | None = None
) -> Problem:
    """Two stages, each on a dear quick or a cheap slow machine in another place."""
    ways = [
        Option(100, 0, 5.0, 5.0, 100, 0.05, "a", "quick", 20, 1.0, 1.0),
        Option(300, 0, 1.0, 1.0, 300, 0.003, "b", "slow", 20, 0.06, 0.06),
    ]
    links = {("a", "b"): Link(1.0, 10.0), ("b", "a"): Link(1.0, 10.0)}
    stages = [Stage("one", (), ways, gb), Stage("two", (0,), ways)]
    return Problem(stages, links, deadline_s, 0.9, budget_usd)


def test_a_neighbour_s_machine_saves_its_set_up() -> None:
    found = solve(two()).selection
    assert found is not None
    assert (found.picks, found.reuses) == ((1, 1), (False, True))
    assert found.cost_usd == pytest.approx(1.94)
    assert found.duration_s == pytest.approx(580)


def test_traffic_counts_in_money_and_time() -> None:
    alone = solve(two(deadline_s=420)).selection
    assert alone is not None
    assert sorted(alone.picks) == [0, 1]
    near = solve(two(gb=4, deadline_s=420)).selection
    assert near is not None
    assert near.picks == (0, 0), "4 USD and 40 s of traffic are more than the dear machine"


def test_what_would_do_is_said() -> None:
    none = solve(two(deadline_s=100, budget_usd=1.0))
    assert none.selection is None
    late = solve(two(deadline_s=100))
    assert late.least_deadline_s == pytest.approx(180)
    assert solve(two(deadline_s=180)).selection is not None
    assert solve(two(budget_usd=1.5)).least_budget_usd == pytest.approx(1.94)


def test_slack_is_what_a_stage_may_take_longer() -> None:
    way = [Option(100, 0, 1.0, 1.0)]
    long = [Option(250, 0, 1.0, 1.0)]
    problem = Problem(
        [
            Stage("a", (), way),
            Stage("b", (0,), long),
            Stage("c", (0,), way),
            Stage("d", (1, 2), way),
        ]
    )
    table = timetable(problem, [stage.options[0] for stage in problem.stages])
    assert table.slack_s == (0, 0, 150, 0)
    assert table.critical == (0, 1, 3)


def test_fronts_keep_what_no_other_beats() -> None:
    lots = random.Random(3)
    rows = [(lots.random(), lots.random()) for _ in range(200)]
    kept = set(undominated(rows, [(0.0, 0.0)] * 200))
    for number, row in enumerate(rows):
        beaten = any(a <= row[0] and b <= row[1] and (a, b) != row for a, b in rows)
        assert (number in kept) != beaten
    assert undominated([], []) == []


@pytest.mark.parametrize("seed", range(4))
def test_the_quickest_is_that_of_all_selections(seed: int) -> None:
    problem = replace(random_problem(seed), by_time=True, deadline_s=None, budget_usd=None)
    found, simulator = solve(problem).selection, Simulator(problem)
    every = itertools.product(*(range(len(stage.options)) for stage in problem.stages))
    assert found is not None
    least = min(simulator.selection(picks).duration_s for picks in every)
    assert found.duration_s == pytest.approx(least, rel=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_carbon_is_that_of_all_selections(seed: int) -> None:
    """A score that is no money, of which traffic has none."""
    lots, problem = random.Random(seed), random_problem(seed)
    stages = [
        replace(stage, options=[
            option._replace(score=lots.uniform(0.1, 3), setup_score=0.0)
            for option in stage.options
        ])
        for stage in problem.stages
    ]  # fmt: skip
    problem = replace(problem, stages=stages, traffic_weight=0.0)
    found, best = solve(problem).selection, brute_force(problem)
    assert (found is None) == (best is None)
    if found is not None and best is not None:
        assert found.score == pytest.approx(best.score, rel=1e-9)
