"""When to start for the least carbon: exact windows, gaps, deadlines, ties."""

import math
import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from mlbroker.policies.intensity import Intensity, Signal
from mlbroker.policies.quote import Cost, Quote
from mlbroker.policies.when import least_carbon, ranked, start_of
from mlbroker.pricing.offer import Market
from mlbroker.profiles.prediction import Basis

NOW = datetime(2026, 11, 29, 4, 30, tzinfo=UTC)
T0 = NOW.timestamp()
H = 3600.0


def series(values: dict[float, float], step_h: float = 1.0) -> Intensity:
    """Kilograms per kWh by hours from now."""
    hours = np.array(sorted(values))
    kg = np.array([values[h] for h in sorted(values)])
    return Intensity("f.csv", "DE", Signal.AVERAGE, T0 + hours * H, kg, step_h * H)


def quote(
    name: str = "m5.large",
    *,
    power_w: float | None = 1000.0,
    hours: float = 2.0,
    sure_h: float = 3.0,
    usd: str = "1",
) -> Quote:
    cost = Decimal(usd)
    zero = Decimal(0)
    return Quote(
        cloud="aws",
        region="eu-central-1",
        instance_type=name,
        market=Market.ON_DEMAND,
        nodes=1,
        price_per_hour_usd=cost,
        price_as_of=date(2026, 11, 1),
        price_source="test",
        price_stale=False,
        step_time_s=None,
        basis=Basis.STATED,
        evidence="",
        duration_h=None,
        cost_usd=Cost(cost, cost, cost, zero, zero, zero),
        deadline_probability=None,
        energy_kwh=None if power_w is None else power_w / 1000 * hours,
        carbon_kgco2e=None,
        grid_intensity_kgco2e_per_kwh=None,
        power_w=power_w,
        sure_h=sure_h,
    )


def test_the_cleanest_window_is_found_and_held_against_now() -> None:
    grid = series(dict(enumerate([0.4, 0.4, 0.4, 0.1, 0.2, 0.4, 0.4, 0.4])))
    start = start_of(quote(), grid, NOW, 8 * H)
    assert start is not None
    assert start.at == NOW + timedelta(hours=3)
    assert start.carbon_kgco2e == pytest.approx(2 * 0.15)
    assert start.now_carbon_kgco2e == pytest.approx(0.8)
    assert start.saved_kgco2e == pytest.approx(0.5)
    assert start.saved_share == pytest.approx(0.625)
    assert start.latest_at == NOW + timedelta(hours=5)
    assert start.expected_h == pytest.approx(2)


def test_a_window_may_end_rather_than_begin_with_an_hour() -> None:
    # 1.5 h: best to take all of the clean hour and what comes before it.
    grid = series(dict(enumerate([0.4, 0.3, 0.1, 0.9, 0.9, 0.9])))
    start = start_of(quote(hours=1.5, sure_h=1.5), grid, NOW, 6 * H)
    assert start is not None
    assert start.at == NOW + timedelta(hours=1.5)
    assert start.carbon_kgco2e == pytest.approx(0.5 * 0.3 + 0.1)


def test_the_least_is_the_least_that_trying_every_minute_finds() -> None:
    dice = random.Random(7)
    for _ in range(30):
        hours = [h for h in range(-2, 30) if dice.random() > 0.1]
        values = {float(h): dice.uniform(0.01, 0.9) for h in hours}
        grid, length_h = series(values), dice.uniform(0.2, 6)
        latest_h = dice.uniform(1, 24)
        at_s, mean = grid.least(T0, T0 + latest_h * H, length_h * H)
        minutes = [m / 60 for m in range(int(latest_h * 60) + 1)]
        tried = [m for m in (_mean(values, m, length_h) for m in minutes) if m is not None]
        if not tried:
            continue
        assert mean <= min(tried) + 1e-9
        exact = _mean(values, (at_s - T0) / H, length_h, slack=1e-6)
        assert exact == pytest.approx(mean, rel=1e-6)


def _mean(
    values: dict[float, float], start_h: float, length_h: float, slack: float = 0.0
) -> float | None:
    """By the definition, hour by hour."""
    total = covered = 0.0
    for h, kg in values.items():
        shared = min(h + 1, start_h + length_h) - max(h, start_h)
        if shared > 0:
            covered += shared
            total += shared * kg
    return total / length_h if covered >= length_h - 1e-9 - slack else None


def test_no_window_touches_a_gap() -> None:
    # The cleanest hours are beside a missing one: 2 h only fit before and after.
    values = dict(enumerate([0.5, 0.5, 0.1, math.nan, 0.1, 0.5, 0.5, 0.5]))
    del values[3]
    start = start_of(quote(sure_h=2), series(values), NOW, 8 * H)
    assert start is not None
    assert start.at == NOW + timedelta(hours=1)
    assert start.carbon_kgco2e == pytest.approx(0.6)
    assert start.covered == pytest.approx(7 / 8)


def test_a_series_that_begins_later_does_not_tell_what_now_would_emit() -> None:
    start = start_of(quote(), series({2: 0.3, 3: 0.2, 4: 0.1}), NOW, 8 * H)
    assert start is not None
    assert start.at == NOW + timedelta(hours=3)
    assert start.now_carbon_kgco2e is start.saved_kgco2e is start.saved_share is None


def test_a_series_of_the_past_has_no_start() -> None:
    assert start_of(quote(), series({-9: 0.3, -8: 0.2, -7: 0.1}), NOW, 8 * H) is None


@pytest.mark.parametrize(("deadline_h", "at_h"), [(6, 3), (5, 2), (3, 0)])
def test_the_time_it_may_take_is_left_before_the_deadline(deadline_h: float, at_h: float) -> None:
    # Two hours are expected, three are left: the deadline counts by the three.
    grid = series(dict(enumerate([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])))
    start = start_of(quote(), grid, NOW, deadline_h * H)
    assert start is not None
    assert start.at == start.latest_at == NOW + timedelta(hours=at_h)


def test_what_would_be_late_even_now_has_no_start() -> None:
    grid = series({float(h): 0.3 for h in range(9)})
    assert start_of(quote(sure_h=3), grid, NOW, 2.9 * H) is None


def test_what_is_late_by_no_more_than_is_known_starts_now() -> None:
    grid = series({float(h): 0.3 for h in range(9)})
    start = start_of(quote(sure_h=3.0001), grid, NOW, 3 * H)
    assert start is not None
    assert start.at == start.latest_at == NOW


def test_where_all_hours_are_equal_it_starts_now() -> None:
    start = start_of(quote(), series({float(h): 0.3 for h in range(9)}), NOW, 8 * H)
    assert start is not None
    assert start.at == NOW
    assert start.saved_kgco2e == 0


def test_of_machines_alike_the_cheapest_and_of_others_the_cleanest() -> None:
    grid = series({float(h): 0.3 for h in range(9)})
    clean, alike, dirty = (
        quote("clean", usd="3"),
        quote("alike", power_w=1015, usd="2"),
        quote("dirty", power_w=1025, usd="1"),
    )
    best = least_carbon([dirty, clean, alike], grid, NOW, 8 * H)
    assert best is not None
    assert best.quote.instance_type == "alike"
    best = least_carbon([dirty, clean], grid, NOW, 8 * H)
    assert best is not None
    assert best.quote.instance_type == "clean"


def test_a_hungry_machine_that_is_quick_may_fit_the_clean_hour() -> None:
    # Twice the power for half an hour, in the one clean hour, is less than a slow start anywhere.
    grid = series({0: 0.9, 1: 0.9, 2: 0.05, 3: 0.9, 4: 0.9, 5: 0.9})
    slow = quote("slow", power_w=250, hours=4, sure_h=4)
    quick = quote("quick", power_w=2200, hours=0.5, sure_h=1)
    best = least_carbon([slow, quick], grid, NOW, 6 * H)
    assert best is not None
    assert best.quote.instance_type == "quick"
    assert best.carbon_kgco2e == pytest.approx(1.1 * 0.05)


def test_a_machine_of_unknown_draw_is_left_out() -> None:
    grid = series({float(h): 0.3 for h in range(9)})
    assert least_carbon([quote(power_w=None)], grid, NOW, 8 * H) is None


def test_a_grid_without_emissions_saves_no_share() -> None:
    start = start_of(quote(), series({float(h): 0.0 for h in range(9)}), NOW, 8 * H)
    assert start is not None
    assert (start.carbon_kgco2e, start.saved_kgco2e, start.saved_share) == (0, 0, None)


def test_places_come_by_carbon_then_cost() -> None:
    grid = series({float(h): 0.3 for h in range(9)})
    quotes = [quote("b", power_w=2000), quote("dear", usd="9"), quote("cheap", usd="1")]
    starts = [start_of(one, grid, NOW, 8 * H) for one in quotes]
    order = [start.quote.instance_type for start in ranked([s for s in starts if s])]
    assert order == ["cheap", "dear", "b"]


def test_values_of_uneven_distance_hold_until_the_next() -> None:
    grid = series({0: 0.4, 0.5: 0.2, 1: 0.6}, step_h=1.0)
    means = grid.means(np.array([T0, T0 + 0.25 * H, T0 + 1.5 * H]), 0.5 * H)
    assert means[:2] == pytest.approx([0.4, 0.3])
    assert means[2] == pytest.approx(0.6)
    assert math.isnan(grid.means(np.array([T0 + 1.75 * H]), 0.5 * H)[0])
