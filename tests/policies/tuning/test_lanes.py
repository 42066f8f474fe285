"""How many lanes: as few as are done in time, within cores and money."""

import pytest

from mlbroker.policies.tuning.lanes import Work, lanes, steps_a_trial


def test_what_a_trial_comes_to() -> None:
    assert steps_a_trial(1, 9) == pytest.approx(1 + 2 / 3 + 6 / 9)
    assert steps_a_trial(3, 9) == pytest.approx(3 + 6 / 3)
    assert steps_a_trial(3, 2) == 2


def test_as_few_as_are_done_in_time() -> None:
    work = Work(trials=40, most=9, step_s=10.0)
    assert work.steps is not None
    needed_s = work.steps * 10
    assert lanes(work, None, 1e9, 8) == 8
    assert lanes(work, 10 * needed_s, 1e9, 8) == 1
    assert lanes(work, needed_s / 2, 1e9, 8) == 3
    assert lanes(work, needed_s / 2, 1e9, 2) == 2
    assert lanes(work, 91.0, 1e9, 8) == 8, "a whole trial hardly fits"


def test_each_pays_for_a_whole_trial() -> None:
    assert lanes(Work(40, 9, 10.0), None, 200.0, 8) == 2
    assert lanes(Work(40, 9, 10.0), None, 20.0, 8) == 1


def test_without_a_number_of_trials_the_money_is_spent_by_the_deadline() -> None:
    assert lanes(Work(None, 9, 1.0), 1000.0, 1700.0, 8) == 3
    assert lanes(Work(40, 9, None), 1000.0, 1700.0, 8) == 8
