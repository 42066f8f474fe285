"""A surge is seen in ten minutes at any hour, and an ordinary month has none."""

from math import log

import pytest
from tests.support.services import STEP_MS, days_of_requests

from mlbroker.policies.service.replay import Row
from mlbroker.policies.service.surge import SurgeWatch
from mlbroker.policies.service.usual import GUESSED_ERROR, HOUR_S, Usual


def seen(rows: list[Row], look_s: float = 60.0) -> list[float]:
    """The moments, in seconds, at which surges were first told of."""
    watch, found = SurgeWatch(), []
    for row in rows:
        for part in range(round(row.span_ms / 1000 / look_s)):
            before = watch.since_s
            now_s = row.start_ms / 1000 + (part + 1) * look_s
            watch.look(now_s, row.requests / row.span_ms * 1000, look_s)
            if before is None and watch.since_s is not None:
                found.append(now_s)
    return found


@pytest.mark.parametrize("hour", range(0, 24, 3))
@pytest.mark.parametrize("day", [0, 1, 9])
def test_twenty_times_as_many_are_seen_in_ten_minutes(day: int, hour: int) -> None:
    begins = day + (hour + 1) / 24
    rows = days_of_requests(day + 2, factor=lambda at: 20.0 if at >= begins else 1.0)
    begins_s = round(begins * 144) * STEP_MS / 1000
    first, *_ = seen(rows)
    assert begins_s < first <= begins_s + 600


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_ordinary_month_has_no_surge(seed: int) -> None:
    weekly = days_of_requests(31, seed, factor=lambda day: 0.4 if int(day) % 7 > 4 else 1.0)
    assert len(seen(weekly)) <= 1


def test_a_surge_ends_and_what_lasts_a_week_is_usual() -> None:
    watch = SurgeWatch()
    told = {}
    for hour in range(24 * 30):
        rate = 2000.0 if 24 * 9 <= hour < 24 * 11 or hour >= 24 * 15 else 100.0
        for part in range(6):
            watch.look(hour * HOUR_S + (part + 1) * 600, rate, 600)
        told[hour // 24] = watch.since_s is not None
    assert [day for day, surge in told.items() if surge][:2] == [9, 10]
    assert not told[11]
    assert told[16]
    assert not told[29]


def test_what_is_usual_is_the_median_of_seven_days() -> None:
    usual = Usual()
    assert usual.at(0) is None
    for day, value in enumerate([5.0, 1.0, 9.0, 2.0, 4.0, 3.0, 8.0, 100.0]):
        for hour in range(24):
            now_s = ((day * 24) + hour + 1) * HOUR_S
            usual.add(now_s, value, HOUR_S, surge=day == 7)
    assert usual.at(5) == 4.0
    assert usual.days == pytest.approx(7, abs=0.1)


def test_a_day_next_to_nothing_beside_a_busy_one_is_an_error_and_no_crash() -> None:
    usual = Usual()
    for hour in range(49):
        usual.add((hour + 1) * HOUR_S, 8.0 if hour < 24 else 5e-324, HOUR_S, surge=False)
    assert 0 < usual.error < float("inf")


def errors_of(above: list[float]) -> list[float]:
    """After each day of a surge that is so many times the usual, which ten days were before."""
    usual, found = Usual(), []
    for day, factor in enumerate([1.0] * 10 + above):
        for hour in range(24):
            now_s = (24 * day + hour + 1) * HOUR_S
            usual.add(now_s, 5.0 * factor, HOUR_S, surge=day >= 10)
        if day >= 9:
            found.append(usual.error)
    return found


def test_days_of_a_surge_are_held_to_its_day_before() -> None:
    """Its first day is what a surge is, not how far forecasts of it are off."""
    calm, *steady = errors_of([20.0] * 6)
    assert steady[0] == calm
    assert steady == sorted(steady, reverse=True)
    swings = errors_of([20.0, 5.0, 20.0, 5.0])
    assert swings[1] == calm
    assert swings[-1] == pytest.approx((2 * calm + 3 * log(4)) / 5)


def test_a_week_of_a_surge_is_usual_and_no_error() -> None:
    """Its days are beside another usual then: that they fell to 1 from 20 says nothing."""
    calm, *week = errors_of([20.0] * 10)
    assert max(week) <= calm


def test_a_surge_that_is_over_leaves_the_error_of_usual_days() -> None:
    usual = Usual()
    for hour in range(24 * 20):
        surge = 24 * 10 <= hour < 24 * 15
        value = 5.0 * (20.0 if hour // 24 % 2 else 5.0) if surge else 5.0
        usual.add((hour + 1) * HOUR_S, value, HOUR_S, surge=surge)
    assert usual.error < GUESSED_ERROR
