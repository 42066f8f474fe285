"""Work that comes back every so many steps is told from work that does not."""

import numpy as np
import pytest
from tests.support.synthetic_jobs import Durations, SyntheticJob

from mlbroker.profiles.stepping.periods import Extras, Period, split
from mlbroker.profiles.stepping.steady import estimate


def even(n: int, seed: int = 0) -> Durations:
    return 0.1 * np.exp(np.random.default_rng(seed).normal(0, 0.03, n))


def extras(durations: Durations) -> Extras:
    times = np.concatenate([[0.0], np.cumsum(durations)])
    return split(times, np.arange(len(durations) + 1))


def test_an_evaluation_every_fifty_steps_is_one_period() -> None:
    durations = even(300)
    durations[49::50] += 2.0
    [period] = extras(durations).periods
    assert (period.every, period.first, period.seen) == (50, 0, 6)
    assert period.extra_s == pytest.approx(2.0, rel=0.02)
    assert period.remaining(300, 1000) == 14


def test_checkpoints_on_top_of_evaluations_are_a_second_period() -> None:
    durations = even(800)
    durations[39::40] += 1.0
    durations[199::200] += 6.0
    periods = sorted((p.every, round(p.extra_s)) for p in extras(durations).periods)
    assert periods == [(40, 1), (200, 6)]


@pytest.mark.parametrize("seen", [3, 4, 5])
def test_two_kinds_that_take_turns_count_half_each(seen: int) -> None:
    durations = even(50 * seen)
    durations[49::50] += 2.0
    durations[99::100] += 1.0
    [period] = extras(durations).periods
    assert (period.every, period.seen) == (50, seen)
    assert period.extra_s == pytest.approx(2.5, rel=0.02)
    assert period.extra_sd_s < 0.05 * period.extra_s  # they do not differ by chance


def test_costs_that_differ_by_chance_are_uncertain() -> None:
    durations = even(400)
    durations[49::50] += [2.0, 3.0, 2.1, 1.5, 2.8, 3.2, 1.6, 2.0]
    [period] = extras(durations).periods
    assert 0.05 < period.extra_sd_s / period.extra_s < 0.15


def test_a_rhythm_with_an_offset_is_kept() -> None:
    durations = even(400)
    durations[6::31] += 1.0
    [period] = extras(durations).periods
    assert (period.every, period.first) == (31, 7)


def test_extras_without_a_rhythm_are_no_period() -> None:
    rng = np.random.default_rng(5)
    durations = even(500)
    places = rng.choice(500, 8, replace=False)
    durations[places] += rng.uniform(1, 3, 8)
    found = extras(durations)
    assert found.periods == ()
    assert np.count_nonzero(found.odd_s) >= 7


def test_a_slow_start_is_no_extra() -> None:
    durations = even(100)
    durations[:5] += 3.0
    found = extras(durations)
    assert found.periods == ()
    assert not found.odd_s.any()


def test_one_look_is_taken_for_the_first_of_many_and_not_trusted_much() -> None:
    durations = even(1000)
    durations[69::70] += 3.0
    found = estimate(SyntheticJob("p", 1.0, durations).seen(100))
    assert found is not None
    [period] = found.periods
    assert (period.every, period.seen, period.sure) == (70, 1, False)
    assert found.total_s is not None
    assert found.total_s.p10 < 1 + durations.sum() < found.total_s.p90


@pytest.mark.parametrize(("after", "total", "times"), [(0, 100, 2), (50, 100, 1), (100, 100, 0)])
def test_remaining_counts_what_is_still_to_come(after: int, total: int, times: int) -> None:
    assert Period(50, 0, 1.0, 0.0, 3, True).remaining(after, total) == times
