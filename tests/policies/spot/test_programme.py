"""The programme's moves where everybody can say what is best."""

from dataclasses import replace

import pytest

from mlbroker.policies.spot.hazards import age_class, expected_life_h, level
from mlbroker.policies.spot.programme import Move, Question, solve

USUAL = Question(10.0, 15.0, 0.1, 0.0, 0.3, 1.0, 1.0, 0.0)
YOUNG, OLD = 0, 5


def move(question: Question, state: str, age: int, time_left_h: float, work_left_h: float) -> Move:
    programme = solve(question)
    layer, step = programme.cell(time_left_h, work_left_h)
    return Move(getattr(programme, state)[layer, age, step])


@pytest.mark.parametrize(
    ("state", "age", "time_left_h", "work_left_h", "best"),
    [
        ("idle_up", OLD, 15.0, 10.0, Move.SPOT),  # cheap, and there
        ("spot", OLD, 15.0, 10.0, Move.KEEP),
        ("idle_down", YOUNG, 15.0, 5.0, Move.KEEP),  # time enough to wait for it
        ("idle_down", YOUNG, 5.2, 5.0, Move.ON_DEMAND),  # none
        ("demand_up", OLD, 10.3, 10.0, Move.SPOT),  # beside, as the slack is short
        ("demand_down", OLD, 5.15, 5.0, Move.KEEP),
        ("demand_down", YOUNG, 15.0, 1.0, Move.RELEASE),
    ],
)
def test_the_best_move(
    state: str, age: int, time_left_h: float, work_left_h: float, best: Move
) -> None:
    assert move(USUAL, state, age, time_left_h, work_left_h) == best


@pytest.mark.parametrize(
    ("state", "time_left_h", "best"),
    [
        ("demand_up", 10.15, Move.KEEP),  # beside it would go; ended first, there is no time
        ("demand_up", 10.3, Move.RELEASE),
        ("idle_up", 10.3, Move.SPOT),
        ("spot", 10.05, Move.KEEP),
    ],
)
def test_the_best_move_of_one_machine_at_a_time(state: str, time_left_h: float, best: Move) -> None:
    assert move(replace(USUAL, overlaps=False), state, OLD, time_left_h, 10.0) == best


def test_spot_that_costs_as_much_as_on_demand_is_not_worth_its_risk() -> None:
    dear = replace(USUAL, price=1.0)
    for time_left_h in (10.3, 11.0, 12.0):
        assert move(dear, "demand_up", OLD, time_left_h, 10.0) == Move.KEEP


def test_machines_that_are_taken_at_once_are_left_alone_when_time_is_short() -> None:
    assert move(replace(USUAL, preemption=30.0), "idle_up", YOUNG, 10.6, 10.0) != Move.SPOT
    assert move(replace(USUAL, preemption=0.03), "idle_up", YOUNG, 10.6, 10.0) == Move.SPOT


def test_ages_lives_and_levels() -> None:
    assert [age_class(hours) for hours in (0, 0.1, 0.2, 1, 2, 5, 100)] == [0, 0, 1, 2, 3, 4, 5]
    # Beyond the last edge the rate is one number: .075 an hour.
    assert expected_life_h(12.0, 1.0) == pytest.approx(1 / 0.075)
    assert expected_life_h(0.0, 1.0) < expected_life_h(2.0, 1.0) < expected_life_h(2.0, 0.5)
    assert [level(factor) for factor in (0.95, 1.0, 1.1)] == [1.0, 1.0, 1.0]
    assert level(2.0) == pytest.approx(2.25)
