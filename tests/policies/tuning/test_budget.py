"""What may still begin with the time that is left."""

import math

import pytest

from mlbroker.policies.tuning.budget import Pace, whole_trial, within
from mlbroker.policies.tuning.interface import State, Step, Trial

PAUSED = Trial(3, [0.1, 0.2, 0.3])
STATE = State([PAUSED], 9)
NEW = Step(None, 1, "new")


def test_a_trial_begins_only_if_the_best_can_be_finished_behind_it() -> None:
    assert within(STATE, NEW, Pace([1.0], 7.0)) == NEW
    finish = within(STATE, NEW, Pace([1.0], 6.9))
    assert finish is not None
    assert (finish.trial, finish.until) == (0, 9)
    assert within(STATE, NEW, Pace([1.0], 5.9)) is None


def test_without_checkpoints_it_is_finished_from_its_beginning() -> None:
    assert within(STATE, NEW, Pace([1.0], 10.0, anew=True)) == NEW
    finish = within(STATE, NEW, Pace([1.0], 9.0, anew=True))
    assert finish is not None
    assert finish.trial == 0
    assert within(STATE, NEW, Pace([1.0], 8.9, anew=True)) is None


def test_what_was_never_measured_is_let_begin() -> None:
    assert within(State([], 9), NEW, Pace([], 0.1)) == NEW


def test_a_whole_trial_begins_once() -> None:
    found = whole_trial([(1, 12.0), (3, 16.0), (9, 28.0)], 50)
    assert found is not None
    assert found.seconds == pytest.approx(10 + 2 * 50)
    assert found.sigma_log == pytest.approx(0.2 / math.sqrt(3)), "others may take longer"


@pytest.mark.parametrize(
    ("stretches", "whole_s"),
    [
        ([(4, 8.0), (4, 12.0)], 25.0),  # as long, so that nothing tells the beginning
        ([(2, 8.0)], 40.0),
        ([(1, 10.0), (3, 5.0)], 37.5),  # the longer one took less: no line
        ([], None),
        ([(3, 0.0)], None),
    ],
)
def test_what_tells_no_beginning_is_a_mean(
    stretches: list[tuple[int, float]], whole_s: float | None
) -> None:
    found = whole_trial(stretches, 10)
    assert (found and found.seconds) == whole_s
