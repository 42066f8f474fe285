"""What a month comes to: known cases, and how often months end within the interval."""

from datetime import date

import pytest

from mlbroker.policies.spend_forecast import SpendHistory, Spread, month_total

# A Sunday; the month has 30 days.
TODAY = date(2026, 11, 15)


def forecast(usd: list[float], so_far: float = 0.0) -> Spread:
    """On a day that has just begun, after so many."""
    first = date.fromordinal(TODAY.toordinal() - len(usd))
    found = month_total(SpendHistory(first, usd, TODAY, 1.0), so_far, [])
    assert found is not None
    return found


def test_days_to_come_cost_what_days_cost() -> None:
    found = forecast([10.0] * 42, so_far=140.0)
    assert found.p50 == pytest.approx(300, rel=0.05)
    assert found.p10 < 300 < found.p90


def test_few_days_tell_less_than_many() -> None:
    few, many = forecast([8.0, 12.0, 10.0]), forecast([8.0, 12.0, 10.0] * 14)
    assert few.p90 - few.p10 > 1.3 * (many.p90 - many.p10)


def test_weekends_count_for_themselves() -> None:
    # Ten weekdays and six weekend days are to come, the first of them today.
    first = date.fromordinal(TODAY.toordinal() - 42)
    days = [date.fromordinal(first.toordinal() + n) for n in range(42)]
    idle = [0.0 if day.weekday() >= 5 else 10.0 for day in days]
    assert forecast(idle).p50 == pytest.approx(110, rel=0.06)


def test_a_recent_rise_counts_more_than_what_was() -> None:
    assert forecast([1.0] * 21 + [10.0] * 21).p50 > forecast([10.0] * 21 + [1.0] * 21).p50 * 1.5


def test_nothing_is_left_of_a_month_that_is_over() -> None:
    last = date(2026, 11, 30)
    history = SpendHistory(date(2026, 11, 1), [10.0] * 29, last, 0.0)
    assert month_total(history, 290.0, []) == Spread(290.0, 290.0, 290.0)


def test_open_runs_add_what_they_are_expected_to() -> None:
    last = date(2026, 11, 30)
    history = SpendHistory(date(2026, 11, 1), [0.0] * 29, last, 0.0)
    found = month_total(history, 5.0, [Spread(10.0, 20.0, 40.0)])
    assert found is not None
    assert (found.p10, found.p50, found.p90) == pytest.approx((15, 25, 45), rel=0.05)


def test_without_a_day_to_judge_by_nobody_knows() -> None:
    assert month_total(SpendHistory(TODAY, [], TODAY, 0.5), 3.0, []) is None


def test_nothing_spent_is_nothing_expected() -> None:
    assert forecast([0.0] * 10) == Spread(0.0, 0.0, 0.0)
