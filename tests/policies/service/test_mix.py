"""The cheapest fleet: against all that there are, and what holds of any."""

import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.services import cheapest_by_hand, days_of_requests, some_options

from mlbroker.policies.service.demand import Chosen, daily_wave, month_like
from mlbroker.policies.service.fleet import Limits, Option
from mlbroker.policies.service.mix import choose
from mlbroker.policies.service.mixed_replay import Trace
from mlbroker.policies.service.replay import Engine
from mlbroker.pricing.offer import Market

ENGINE = Engine(1.0)
SMALL = Option("small", "aws", "us-east-1", Market.ON_DEMAND, Decimal("0.1"), 2.0)
LARGE = Option("large", "aws", "us-east-1", Market.ON_DEMAND, Decimal("0.7"), 20.0)


def test_the_large_always_run_and_the_small_follow() -> None:
    trace = Trace(days_of_requests(2, mean_rps=30.0), ENGINE)
    choice = choose([SMALL, LARGE], trace, Limits(0.95))
    best, single = choice.best, choice.single
    assert best is not None
    assert single is not None
    assert [(option.name, number) for option, number in best.base] == [("large", 1)]
    assert best.peak == SMALL
    assert best.usd_per_h < Decimal("0.98") * single.usd_per_h
    assert best.served >= 0.95
    assert best.replicas == (1, 1 + best.most)
    assert best.at(0.0) == 1
    assert best.at(20.1) == 2
    assert best.at(1e6) == 1 + best.most
    assert best.for_budget(Decimal("0.6")) is None
    assert best.for_budget(Decimal("0.95")) == 3
    assert best.for_budget(Decimal(1000)) == best.replicas[1]


@pytest.mark.parametrize("seed", range(12))
def test_it_is_within_two_percent_of_the_best_of_all(seed: int) -> None:
    lots = random.Random(seed)
    options = some_options(lots, 3)
    rows = days_of_requests(1, seed, lots.uniform(3, 15))
    trace = Trace(rows, ENGINE._replace(boot_ms=lots.choice([0, 300_000])))
    limits = Limits(lots.choice([0.9, 0.99, 0.999]), lots.choice([0, 1, 2]))
    best = choose(options, trace, limits).best
    assert best is not None
    assert float(best.usd_per_h) <= 1.02 * cheapest_by_hand(options, trace, limits)


def test_two_take_the_places_of_two_where_one_by_one_is_dearer() -> None:
    # Of five that always run and one fine, two must go for two fine ones at once.
    cheap = SMALL._replace(name="cheap", usd_per_h=Decimal("0.0930"), rps=4.703)
    fine = SMALL._replace(name="fine", usd_per_h=Decimal("0.0830"), rps=2.742)
    trace = Trace(days_of_requests(1, 24, 16.0), ENGINE._replace(boot_ms=120_000))
    best = choose([cheap, fine], trace, Limits(0.999)).best
    assert best is not None
    assert float(best.usd_per_h) == pytest.approx(
        cheapest_by_hand([cheap, fine], trace, Limits(0.999)), rel=1e-3
    )


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.integers(1, 6), st.sampled_from([0.9, 0.99]), st.integers(0, 3))
def test_what_holds_of_any_choice(seed: int, types: int, share: float, least: int) -> None:
    lots = random.Random(seed)
    trace = Trace(days_of_requests(1, seed, lots.uniform(2, 60)), ENGINE)
    limits = Limits(share, least, lots.choice([least + 3, 30, 10**9]))
    choice = choose(some_options(lots, types), trace, limits)
    fleets = [single.fleet for single in choice.singles if single.fleet is not None]
    for single in choice.singles:
        assert (single.fleet is None) == (single.would_do > limits.most)
    if choice.best is None:
        assert not fleets
        return
    fleets.append(choice.best)
    assert all(choice.best.usd_per_h <= fleet.usd_per_h for fleet in fleets)
    for fleet in fleets:
        assert limits.least <= fleet.replicas[0] <= fleet.replicas[1] <= limits.most
        outcome = trace.play(fleet.group)
        assert outcome.served == pytest.approx(fleet.served)
        assert fleet.served >= share
        # No replica can be taken away.
        if fleet.most > fleet.least:
            fewer = fleet._replace(most=fleet.most - 1)
            assert trace.play(fewer.group).served < share


def test_many_types_come_down_to_few() -> None:
    trace = Trace(days_of_requests(2, mean_rps=100.0), ENGINE)
    options = some_options(random.Random(7), 300, largest=64.0)
    choice = choose(options, trace, Limits(0.95))
    assert choice.best is not None
    assert len(choice.singles) <= 8
    alone = [choose([option], trace, Limits(0.95)).single for option in options[:40]]
    assert all(one is None or choice.best.usd_per_h <= one.usd_per_h for one in alone)


def test_too_few_replicas_and_how_many_would_do() -> None:
    trace = Trace(days_of_requests(2, mean_rps=30.0), ENGINE)
    choice = choose([SMALL, LARGE], trace, Limits(0.99, 1, 3))
    assert choice.best is not None
    (small,) = [single for single in choice.singles if single.option == SMALL]
    assert small.fleet is None
    enough = choose([SMALL], trace, Limits(0.99, 1, small.would_do)).best
    assert enough is not None
    assert choose([SMALL], trace, Limits(0.99, 1, small.would_do - 1)).best is None


def test_an_engine_that_does_not_scale_has_always_as_many() -> None:
    trace = Trace(days_of_requests(2, mean_rps=30.0), ENGINE)
    best = choose([SMALL, LARGE], trace, Limits(0.999, 3, 3, scales=False)).best
    assert best is not None
    assert best.peak is None
    assert best.always == 3
    assert best.usd_per_h == best.base_usd_per_h
    assert choose([SMALL], trace, Limits(0.999, 3, 3, scales=False)).best is None


def test_a_mix_is_of_one_place() -> None:
    trace = Trace(days_of_requests(2, mean_rps=30.0), ENGINE)
    far = SMALL._replace(region="eu-west-1", usd_per_h=Decimal("0.09"))
    dear = SMALL._replace(usd_per_h=Decimal("0.3"))
    best = choose([far, LARGE, dear], trace, Limits(0.99)).best
    assert best is not None
    assert {option.region for option, _ in best.base} <= {best.peak and best.peak.region}


def test_machines_that_cost_nothing_are_used_as_the_others() -> None:
    trace = Trace(days_of_requests(2, mean_rps=30.0), ENGINE)
    limits = Limits(0.99)
    choice = choose([SMALL._replace(usd_per_h=Decimal(0))], trace, limits)
    chosen = Chosen(choice, limits, trace.mean_rps, trace.peak_rps, assumed=False)
    assert choice.best is not None
    assert choice.best.usd_per_h == 0
    assert 0.3 < chosen.used(choice.best) <= 1
    assert chosen.usd_per_request(choice.best) == 0
    assert choice.best.for_budget(Decimal(1)) == choice.best.replicas[1]


def test_what_never_serves_is_no_option() -> None:
    trace = Trace(days_of_requests(1), ENGINE)
    assert choose([SMALL._replace(rps=0.0)], trace, Limits(0.9)) == ((), None)


@pytest.mark.parametrize(("rate", "peak"), [(5.0, 10.0), (9.0, 10.0), (1.0, 10.0), (4.0, 4.0)])
def test_a_day_s_wave_has_the_mean_and_the_peak(rate: float, peak: float) -> None:
    trace = Trace(daily_wave(rate, peak), ENGINE)
    assert trace.mean_rps == pytest.approx(rate, rel=1e-3)
    assert trace.peak_rps == pytest.approx(peak)
    assert trace.rates.min() >= 0


def test_a_month_like_the_days_of_the_trace() -> None:
    trace = Trace(days_of_requests(14, factor=lambda day: 1 + 0.2 * (int(day) % 2)), ENGINE)
    best = choose([SMALL, LARGE], trace, Limits(0.95)).best
    assert best is not None
    month = month_like(trace, best)
    assert month is not None
    assert month.days == 14
    assert month.usd == pytest.approx(730 * float(best.usd_per_h))
    assert 0.8 * month.usd < month.low_usd < month.usd < month.high_usd < 1.2 * month.usd
    assert month_like(Trace(days_of_requests(1), ENGINE), best) is None
    chosen = Chosen(choose([LARGE], trace, Limits(0.95)), Limits(0.95), trace.mean_rps,
                    trace.peak_rps, assumed=False)  # fmt: skip
    alone = chosen.choice.single
    assert alone is not None
    assert 0.5 < chosen.used(alone) <= 1
    served = chosen.usd_per_request(alone) * trace.mean_rps * 3600 * alone.served
    assert served == pytest.approx(float(alone.usd_per_h))
