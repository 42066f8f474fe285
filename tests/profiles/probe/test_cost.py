"""What a look takes is what its steps take more than others, on a clock that is set by hand."""

from types import SimpleNamespace

import pytest

from mlbroker.profiles.probe.mlbroker_probe import _cost
from mlbroker.profiles.probe.mlbroker_probe._cost import FREE_S, MOST_SHARE, Cost

STEP_S, SEEN_S = 0.01, 0.001


class Training:
    """Steps of one thread. `cost` is told of each what a `Noise` tells it."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.cost = Cost()

    def clock(self) -> float:
        return self.now_s

    def step(self, took_s: float, *, own_s: float = 0.0) -> None:
        """It ends `took_s` after the last one; our own code takes a part of that."""
        self.now_s += took_s - own_s
        self.cost.enter()
        self.now_s += own_s
        self.cost.leave()

    def know(self, took_s: float) -> None:
        """One step that is not looked at, from end to end."""
        self.cost.no_look()
        self.cost.enter()
        assert not self.cost.knows_a_step()
        self.step(took_s)
        assert self.cost.knows_a_step()

    def look(self, steps: list[float], own_s: float) -> float:
        """What a look at these steps is charged."""
        before_s = self.cost.spent_s
        self.cost.open()
        for took_s in steps:
            self.step(took_s, own_s=own_s)
            self.cost.looked()
        self.cost.close()
        return self.cost.spent_s - before_s


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Training:
    training = Training()
    clocks = SimpleNamespace(thread_time=training.clock, perf_counter=training.clock)
    monkeypatch.setattr(_cost, "time", clocks)
    training.cost.begin()
    return training


def test_what_nobody_saw_is_charged_too(training: Training) -> None:
    training.know(STEP_S)
    slower_s = STEP_S + 3 * SEEN_S
    assert training.look([slower_s] * 8, SEEN_S) == pytest.approx(24 * SEEN_S, rel=0.1)


def test_never_less_than_what_was_seen(training: Training) -> None:
    training.know(2 * STEP_S)
    assert training.look([STEP_S] * 8, SEEN_S) == pytest.approx(8 * SEEN_S)


def test_before_a_step_is_known_what_was_seen_is_charged(training: Training) -> None:
    assert training.look([STEP_S] * 8, SEEN_S) == pytest.approx(8 * SEEN_S)


def test_what_a_job_does_now_and_then_is_no_cost_of_ours(training: Training) -> None:
    """An evaluation between two steps, looked at or not."""
    for took_s in (STEP_S, 60.0, STEP_S):
        training.know(took_s)
    charged_s = training.look([STEP_S] * 4 + [60.0] + [STEP_S] * 3, SEEN_S)
    assert charged_s == pytest.approx(8 * SEEN_S)
    assert training.look([2 * STEP_S] * 8, SEEN_S) == pytest.approx(8 * STEP_S, rel=0.15)


def test_a_step_whose_beginning_was_not_seen_tells_nothing(training: Training) -> None:
    training.cost.enter()
    assert not training.cost.knows_a_step()
    training.cost.no_look()
    training.step(60.0)
    assert not training.cost.knows_a_step()


def test_no_look_beyond_the_share(training: Training) -> None:
    assert training.cost.allows_a_look()
    training.step(STEP_S, own_s=FREE_S + 0.005)
    assert not training.cost.allows_a_look()
    training.step(0.005 / MOST_SHARE)
    assert training.cost.allows_a_look()
