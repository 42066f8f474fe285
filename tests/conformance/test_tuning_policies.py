"""Every tuning policy of the registry is held to what all promise."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.curves import InOrder, curves

from mlbroker.policies.tuning import POLICIES
from mlbroker.policies.tuning.interface import FAILED, State, Step
from mlbroker.policies.tuning.replay import Curves, Studied, play

Heard = list[tuple[int, Step | None]]


@pytest.fixture(params=POLICIES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def heard(
    name: str, table: Curves, *, target: float = 2.0, cap_s: float = math.inf, workers: int = 4
) -> tuple[Heard, Studied, InOrder]:
    said: Heard = []
    searcher = InOrder(range(len(table.configs)))

    def watch(state: State, step: Step | None) -> None:
        if step is not None and step.trial is not None:
            trial = state.trials[step.trial]
            assert not trial.busy
            assert trial.reached < step.until <= state.most
            assert trial.score > FAILED
        if step is not None:
            assert step.reason
            assert state.may_start or step.trial is not None
        said.append((sum(len(trial.best) for trial in state.trials), step))

    ended = play(table, target, workers, cap_s, POLICIES[name](), searcher, watch=watch)
    return said, ended, searcher


def test_all_is_tried_and_the_target_that_nobody_reaches_is_missed(name: str) -> None:
    table = curves(1)
    _, ended, searcher = heard(name, table)
    assert ended.missed
    assert ended.trials == len(table.configs)
    assert max(step for _, step, _ in searcher.told) == table.most, "the best was finished"


def test_a_target_that_some_reach_is_found_and_paid_for_until_then(name: str) -> None:
    table = curves(2)
    best = max(scores[-1] for scores in table.scores)
    _, ended, _ = heard(name, table, target=best - 1e-9)
    everything_s = sum(table.most * step_s for step_s in table.step_s)
    # Successive halving without a way back may stop the best one.
    if name != "asha-stop":
        assert not ended.missed
    assert 0 < ended.cost_s <= everything_s
    assert ended.time_s >= ended.cost_s / 4


@settings(max_examples=20, deadline=None)
@given(cap_s=st.floats(0, 3000), workers=st.integers(1, 9), seed=st.integers(0, 99))
def test_no_work_begins_beyond_the_cap(cap_s: float, workers: int, seed: int) -> None:
    for name in POLICIES:
        _, ended, _ = heard(name, curves(seed, 40), cap_s=cap_s, workers=workers)
        assert ended.cost_s <= cap_s + 1e-6
        assert ended.time_s <= cap_s + 1e-6


def test_a_trial_that_failed_is_never_carried_on(name: str) -> None:
    table = curves(3, 30)
    scores = [[FAILED] * 27 if number % 2 else row for number, row in enumerate(table.scores)]
    _, ended, _ = heard(name, table._replace(scores=scores))
    assert ended.trials == 30


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_it_sees_a_score_only_when_its_steps_are_paid_for(name: str, share: float) -> None:
    """What nobody has paid for may be anything: until then nothing changes."""
    table = curves(4)
    said, _, searcher = heard(name, table)
    told = searcher.told[: int(share * len(searcher.told))]
    paid = {config: max(s for c, s, _ in told if c == config) for config, _, _ in told}
    rows = [list(row) for row in table.scores]
    unseen = [(c, s) for c, row in enumerate(rows) for s in range(paid.get(c, 0), len(row))]
    for (config, step), (other, at) in zip(unseen, reversed(unseen), strict=True):
        rows[config][step] = table.scores[other][at] * 0.9
    again, _, changed = heard(name, table._replace(scores=rows))
    assert changed.told[: len(told)] == told
    before = sum(1 for steps, _ in said if steps <= sum(paid.values()))
    assert before > 20
    assert again[: before - 1] == said[: before - 1]


def test_the_same_study_is_played_the_same(name: str) -> None:
    assert heard(name, curves(5))[:2] == heard(name, curves(5))[:2]


def test_one_step_alone_is_a_whole_trial(name: str) -> None:
    _, ended, searcher = heard(name, curves(6, steps=1))
    assert len(searcher.told) == ended.trials == 120


def test_nothing_is_left_out_where_all_are_alike(name: str) -> None:
    table = curves(7, 30)
    flat = table._replace(scores=[[0.5] * 27 for _ in table.configs])
    _, ended, _ = heard(name, flat, target=0.5)
    assert ended.time_s == table.step_s[0] or ended.time_s <= min(table.step_s[:4])


def against_random(name: str, mislead: float) -> Callable[[], float]:
    def ratio() -> float:
        costs = []
        for policy in (name, "random-full"):
            total = 0.0
            for seed in range(6):
                table = curves(seed, 300, mislead=mislead)
                target = sorted((row[-1] for row in table.scores), reverse=True)[4]
                total += heard(policy, table, target=target, cap_s=20_000)[1].cost_s
            costs.append(total)
        return costs[0] / costs[1]

    return ratio


@pytest.mark.parametrize("mislead", [0.0, 1.0])
def test_auto_is_cheaper_than_whole_trials_even_where_first_steps_mislead(mislead: float) -> None:
    assert against_random("auto", mislead)() < 0.7
