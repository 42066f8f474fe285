"""What a trial proves: savings with their bound, and whether losses agree."""

import random

import pytest

from mlbroker.profiles.job import TextRemedies
from mlbroker.profiles.trying import (
    Arm,
    Saving,
    Trial,
    as_remedies,
    largest_difference,
    losses_of,
    mean_losses,
    of_run,
    saving,
)


def test_a_saving_is_claimed_by_its_lower_bound() -> None:
    found = saving([1.0, 1.1, 0.9], [0.6, 0.64, 0.56])
    assert found.seen == pytest.approx(0.4, abs=0.01)
    assert found.least < found.seen
    # Rounds that agree leave little open, those that differ much.
    assert saving([1.0] * 3, [0.6] * 3).least == pytest.approx(0.4)
    assert saving([1.0, 1.0, 1.0], [0.3, 0.6, 1.1]).least < 0


def test_the_bound_holds_as_often_as_it_says() -> None:
    chance = random.Random(5)
    true, right = 0.7, 0
    for _ in range(2000):
        base = [chance.lognormvariate(0, 0.05) for _ in range(3)]
        other = [true * chance.lognormvariate(0, 0.05) for _ in range(3)]
        right += saving(base, other).least <= 1 - true
    assert 0.88 <= right / 2000 <= 0.92


def test_of_a_run_the_first_epoch_goes_without() -> None:
    step, before = Saving(0.6, 0.5), Saving(0.2, 0.1)
    assert of_run(step, before, 4) == pytest.approx((0.5, 0.4))
    assert of_run(step, before, 1) == before
    assert of_run(step, before, 0.5) == before  # it ends within it
    assert of_run(step, before, None) is None


def test_losses_are_compared_one_by_one() -> None:
    assert largest_difference([2.0, 0.5], [2.0, 0.5]) == 0
    assert largest_difference([2.0, 0.5], [2.0, 0.6]) == pytest.approx(0.1)
    assert largest_difference([100.0], [101.0]) == pytest.approx(0.01)
    assert largest_difference([1.0], [float("nan")]) == float("inf")
    assert largest_difference([], [1.0]) is None


def test_mean_losses_may_differ_by_chance_alone() -> None:
    chance = random.Random(3)

    def losses(shift: float) -> list[float]:
        return [3 / (1 + i / 40) + shift + chance.gauss(0, 0.1) for i in range(100)]

    base = [losses(0.0) for _ in range(3)]
    assert mean_losses(base, [losses(0.0) for _ in range(3)])[1]
    words, same = mean_losses(base, [losses(0.3) for _ in range(3)])
    assert not same
    assert words.startswith("mean losses differ by +0.")
    assert mean_losses(base, [[1.0] * 5])[0] == "only 5 losses were seen"
    noisy = [[chance.gauss(1, 9) for _ in range(100)] for _ in range(2)]
    assert mean_losses(noisy[:1], noisy[1:])[0].endswith("too much to tell")
    assert not mean_losses([[float("nan")] * 30], [[1.0] * 30])[1]


def test_losses_that_were_told_are_read_until_one_is_missing() -> None:
    notes = {"loss_0": "1.5 2", "loss_2": "3", "loss_4": "5", "torch": "2.13"}
    assert losses_of(notes) == [1.5, 2, 3]
    assert losses_of({"loss_0": "mine"}) == []
    assert losses_of({"loss_0": ""}) == []


def test_the_best_is_what_surely_saves_most() -> None:
    arms = (
        Arm("trim", (0.5,), Saving(0.5, 0.45), None, None, None),
        Arm("trim,group=50", (0.4,), Saving(0.6, 0.3), None, None, None),
        Arm("trim,group=50,workers=4", (0.1,), Saving(0.9, 0.8), None, None, "losses disagree"),
    )
    best = Trial("local", 60, (1.0,), 32, arms).best
    assert best == arms[0]
    assert Trial("local", 60, (1.0,), 32, arms[2:]).best is None
    assert as_remedies("trim,group=50,workers=4") == TextRemedies(trim=True, group=50)
    assert as_remedies("workers=4") == TextRemedies()
