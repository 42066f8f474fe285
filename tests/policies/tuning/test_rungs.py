"""Which trial goes on, and which grace a new one gets."""

from mlbroker.policies.tuning import POLICIES
from mlbroker.policies.tuning.interface import FAILED, State, Step, Trial, rungs


def trial(*scores: float, grace: int = 1, busy: bool = False) -> Trial:
    made = Trial(grace, busy=busy)
    made.report(scores)
    return made


def step(policy: str, *trials: Trial, **more: object) -> tuple[int | None, int] | None:
    decided = POLICIES[policy]().decide(State(trials, 27, **more))  # type: ignore[arg-type]
    return decided and (decided.trial, decided.until)


def test_rungs_grow_by_eta_and_end_with_the_whole() -> None:
    assert rungs(1, 3, 50) == [1, 3, 9, 27, 50]
    assert rungs(3, 3, 27) == [3, 9, 27]
    assert rungs(3, 3, 2) == [2]


def test_a_trial_keeps_its_best_and_no_number_is_the_worst() -> None:
    assert trial(0.5, 0.3, float("nan"), 0.6).best == [0.5, 0.5, 0.5, 0.6]
    assert trial(float("nan")).score == FAILED
    assert Trial(1).score == FAILED


def test_one_in_three_goes_on_and_the_first_waits_for_two_more() -> None:
    assert step("sha-pause") == (None, 1)
    assert step("sha-pause", trial(0.9)) == (None, 1)
    assert step("sha-pause", trial(0.9), trial(0.1)) == (None, 1)
    assert step("sha-pause", trial(0.5), trial(0.9), trial(0.1)) == (1, 3)
    promoted = trial(0.9, 0.9, 0.9)
    assert step("sha-pause", trial(0.5), promoted, trial(0.1)) == (None, 1)
    assert step("sha-pause", trial(0.5), trial(0.9, busy=True), trial(0.1)) == (None, 1)


def test_a_paused_trial_is_taken_up_when_worse_ones_have_come() -> None:
    first = [trial(0.5), trial(0.9, 0.9, 0.9), trial(0.1)]
    assert step("sha-pause", *first, trial(0.2), trial(0.3)) == (None, 1)
    assert step("sha-pause", *first, trial(0.2), trial(0.3), trial(0.4)) == (0, 3)


def test_the_highest_rung_comes_first() -> None:
    low = [trial(0.95), trial(0.1), trial(0.1)]
    high = [trial(0.9, 0.9, value) for value in (0.9, 0.8, 0.7)]
    assert step("sha-pause", *low, *high) == (3, 9)


def test_past_experience_lets_the_leader_go_on_at_once() -> None:
    assert step("sha-pause", trial(0.9), warm=True) == (0, 3)
    assert step("sha-pause", trial(0.9), trial(0.5), warm=True) == (0, 3)
    assert step("sha-pause", trial(0.9, 0.9, 0.9), trial(0.5), warm=True) == (0, 9)


def test_the_best_is_finished_when_nothing_new_is_left() -> None:
    two = [trial(0.5), trial(0.9)]
    assert step("sha-pause", *two, may_start=False) == (1, 27)
    assert step("sha-pause", trial(FAILED), may_start=False) is None
    assert step("auto", *two, may_start=False) == (1, 27)


def test_brackets_take_turns_and_are_ranked_apart() -> None:
    assert step("auto") == (None, 1)
    assert step("auto", trial(0.1)) == (None, 3)
    mixed = [trial(0.9), trial(0.1, 0.1, 0.1, grace=3), trial(0.5), trial(0.2, 0.2, 0.2, grace=3)]
    assert step("auto", *mixed) == (None, 1)
    assert step("auto", *mixed, trial(0.1)) == (0, 3)


def long_ones(agree: bool) -> list[Trial]:
    """Nine of the long grace, with as many that nobody promotes before them."""
    found = []
    for number in range(9):
        late = number / 10
        early = late / 2 if agree else (0.09 - late / 10)
        found += [trial(FAILED), trial(early, early, 1 + late, grace=3)]
    # All that may go on has gone on.
    for best in found[-1:-7:-2]:
        best.report([best.score] * 6)
    found[-1].report([found[-1].score] * 18)
    return found


def test_the_short_grace_is_taken_where_the_first_step_tells() -> None:
    graces = [step("auto", *long_ones(True), *[trial(FAILED)] * more) for more in range(12)]
    assert graces.count((None, 1)) == 11
    assert graces.count((None, 3)) == 1


def test_the_long_grace_is_taken_where_the_first_step_misleads() -> None:
    assert {step("auto", *long_ones(False), *[trial(FAILED)] * more) for more in range(12)} == {
        (None, 3)
    }


def test_early_stopping_never_comes_back() -> None:
    seen = [trial(value) for value in (0.5, 0.4, 0.6)]
    assert step("asha-stop", seen[0], reported=0) == (0, 4)
    assert step("asha-stop", *seen, reported=1) == (None, 1)
    assert step("asha-stop", *seen, reported=2) == (2, 4)
    assert step("asha-stop", *seen, reported=None) == (None, 1)
    assert step("asha-stop", trial(*[0.5] * 27), reported=0) == (None, 1)


def test_a_whole_trial_at_a_time() -> None:
    assert POLICIES["random-full"]().decide(State([], 27)) == Step(
        None, 27, "every trial runs whole"
    )
    assert step("random-full", may_start=False) is None
