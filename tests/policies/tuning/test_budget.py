"""What may still begin with the time that is left."""

from mlbroker.policies.tuning.budget import Pace, within
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
