import math
from dataclasses import replace
from time import perf_counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbroker.profiles.transfer.belief import Belief
from mlbroker.profiles.transfer.history import Prior, prior
from mlbroker.profiles.transfer.kernel import Hyper
from mlbroker.profiles.transfer.space import encode
from mlbroker.profiles.value_of_information import Step, Terms, begin, losses, next_step


def made(size: int, seed: int = 0) -> tuple[Prior, Terms]:
    rng = np.random.default_rng(seed)
    vcpus = rng.choice([2, 4, 8, 16, 32, 64], size).astype(float)
    memory = vcpus * rng.choice([2, 4, 8], size)
    columns = {"vcpus": vcpus.tolist(), "memory_gib": memory.tolist()}
    price = 0.04 * vcpus * rng.uniform(0.7, 1.5, size)
    space = encode(columns, [f"f{i % 7}.{i}" for i in range(size)])
    return prior(space, np.arange(size), [], []), Terms(price, 60.0)


def test_it_starts_with_a_probe_and_ends_with_a_choice() -> None:
    knowledge, terms = made(20)
    belief = begin(knowledge, Hyper(), terms)
    truth = np.log(4000 / np.linspace(1, 8, 20))
    for _ in range(25):
        step = next_step(belief, terms)
        assert step.candidate is not None
        if not step.probe:
            break
        assert step.saves_usd > step.costs_usd > 0
        assert step.candidate not in belief.measured
        belief.observe(step.candidate, float(truth[step.candidate]))
    assert not step.probe
    assert step.saves_usd <= step.costs_usd
    assert belief.measured


def test_equal_beliefs_give_equal_steps() -> None:
    def decide() -> Step:
        knowledge, terms = made(30)
        belief = begin(knowledge, Hyper(), terms)
        belief.observe(4, 8.0)
        return next_step(belief, terms)

    assert decide() == decide()


def test_one_candidate_is_taken_without_a_probe() -> None:
    knowledge, terms = made(1)
    step = next_step(begin(knowledge, Hyper(), terms), terms)
    assert (step.candidate, step.probe, step.saves_usd) == (0, False, 0.0)


def test_when_everything_failed_there_is_no_choice() -> None:
    knowledge, terms = made(4)
    belief = begin(knowledge, Hyper(), terms)
    for candidate in range(4):
        belief.fail(candidate)
    assert next_step(belief, terms) == Step(None, probe=False)


def test_the_cap_on_probes_holds() -> None:
    knowledge, terms = made(20)
    assert not next_step(begin(knowledge, Hyper(), terms), terms, max_probes=0).probe


def test_dear_probes_are_not_made() -> None:
    knowledge, terms = made(10)
    belief = begin(knowledge, Hyper(), terms)
    belief.observe(0, math.log(5.0))
    # Five seconds of work: no hour of set-up is worth a look at another machine.
    assert not next_step(belief, replace(terms, setup_s=3600.0)).probe


def test_under_a_deadline_the_slow_lose() -> None:
    knowledge, terms = made(10)
    belief = begin(knowledge, Hyper(), terms)
    belief.observe(3, math.log(7200))
    free = losses(belief, terms, belief.failure)
    bound = losses(belief, replace(terms, deadline_s=3600.0), belief.failure)
    assert math.isclose(bound[3], free[3] * 31, rel_tol=0.01)


def test_a_known_machine_in_time_beats_a_cheaper_gamble() -> None:
    knowledge, terms = made(2)
    terms = Terms(np.array([1.0, 0.5]), 0.0, deadline_s=4000.0)
    belief = Belief(knowledge, Hyper())
    belief.observe(0, math.log(3600))
    belief.observe(1, math.log(5000))
    assert next_step(belief, terms) == Step(0, False, 0.0, 0.0)


@settings(max_examples=40)
@given(
    st.integers(1, 12),
    st.lists(st.tuples(st.integers(0, 11), st.none() | st.floats(-10, 25)), max_size=12),
    st.none() | st.floats(1.0, 1e7),
)
def test_any_history_of_probes_gives_a_sound_step(
    size: int, seen: list[tuple[int, float | None]], deadline_s: float | None
) -> None:
    knowledge, terms = made(size)
    terms = replace(terms, deadline_s=deadline_s)
    belief = begin(knowledge, Hyper(), terms)
    for candidate, log_time in seen:
        if candidate < size and candidate not in belief.failed + belief.measured:
            if log_time is None:
                belief.fail(candidate)
            else:
                belief.observe(candidate, log_time)
    step = next_step(belief, terms)
    if step.candidate is None:
        assert len(belief.failed) == size
    else:
        assert step.candidate not in belief.failed
        assert math.isfinite(step.costs_usd)
        assert not (step.probe and step.candidate in belief.measured)


def _decision_s(size: int) -> float:
    """The best of several: other processes of this machine are not what is measured."""
    knowledge, terms = made(size)
    belief = begin(knowledge, Hyper(), terms)
    for candidate in range(8):
        belief.observe(candidate, 8.0 - 0.1 * candidate)
    spans = []
    for _ in range(7):
        began = perf_counter()
        next_step(belief, terms)
        spans.append(perf_counter() - began)
    return min(spans)


def test_a_decision_takes_longer_as_the_candidates_grow_and_no_more() -> None:
    assert _decision_s(5000) < 30 * _decision_s(500)


def test_among_thousands_the_few_fast_enough_are_not_overlooked() -> None:
    """Most candidates are cheap and far too slow: what can be in time must still be considered."""
    size = 2000
    vcpus = np.concatenate([np.full(size - 5, 2.0), np.full(5, 64.0)])
    space = encode({"vcpus": vcpus.tolist()}, [""] * size)
    terms = Terms(0.05 * vcpus, 60.0, deadline_s=1800.0)
    belief = begin(prior(space, np.arange(size), [], []), Hyper(), terms)
    belief.observe(0, math.log(20_000))
    step = next_step(belief, terms)
    assert step.candidate is not None
    assert step.candidate >= size - 5
