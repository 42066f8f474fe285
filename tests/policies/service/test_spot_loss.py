"""Spot in a fleet: what is lost together, and what stands in for it."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.services import days_of_requests

from mlbroker.policies.service.fleet import Limits, Option
from mlbroker.policies.service.mix import choose
from mlbroker.policies.service.mixed_replay import Group, Trace
from mlbroker.policies.service.replay import Engine
from mlbroker.policies.service.spot_loss import ZONES, on_spot, spot_loss
from mlbroker.policies.spot.hazards import expected_outage_h
from mlbroker.policies.spot.rates import SPARE
from mlbroker.pricing.offer import Market

ENGINE = Engine(1.0)
SPOT = Option("m", "aws", "us-east-1", Market.SPOT, Decimal("0.1"), 10.0)
ON_DEMAND = SPOT._replace(market=Market.ON_DEMAND, usd_per_h=Decimal("0.3"))


def test_a_boot_is_missing_and_the_rest_of_an_outage_on_demand() -> None:
    outage_h = expected_outage_h(0.0, 1.0)
    loss = spot_loss(0.2, 360.0, falls_back=True)
    events_per_h = 1 / (1 / 0.2 + outage_h)
    assert loss.missing == pytest.approx(ZONES * events_per_h * 0.1)
    assert loss.on_demand == pytest.approx(events_per_h * (1 - SPARE) * (outage_h - 0.1))


@given(st.floats(0.0, 20.0), st.floats(0.0, 7200.0))
def test_shares_are_shares_and_nothing_in_place_misses_more(per_h: float, boot_s: float) -> None:
    replaced = spot_loss(per_h, boot_s, falls_back=True)
    bare = spot_loss(per_h, boot_s, falls_back=False)
    assert 0 <= replaced.missing <= bare.missing <= 1
    assert 0 <= replaced.on_demand < 1
    assert bare.on_demand == 0


@given(st.decimals("0.01", "5", places=4))
def test_its_price_is_between_that_of_spot_and_that_on_demand(on_demand_usd: Decimal) -> None:
    made = on_spot(SPOT, 0.2, 300.0, on_demand_usd)
    low, high = sorted((SPOT.usd_per_h, on_demand_usd))
    assert SPOT.usd_per_h <= made.usd_per_h <= high
    assert low <= made.usd_per_h
    assert on_spot(SPOT, 0.0, 300.0, on_demand_usd).usd_per_h == SPOT.usd_per_h
    assert on_spot(SPOT, 0.2, 300.0, None).usd_per_h == SPOT.usd_per_h


def test_a_zone_that_is_gone_takes_half_and_the_engine_does_not_know_it() -> None:
    trace = Trace(days_of_requests(1, mean_rps=40.0), ENGINE)
    whole = Group(0.0, 10.0, 1, 8)
    half = trace.play(whole._replace(gone_share=0.5))
    assert half.replica_ms == trace.play(whole).replica_ms
    assert half.served < trace.play(whole).served
    # All of it always runs: as if there were half as many.
    always = Group(80.0, 10.0, 0, 0)
    gone = trace.play(always._replace(gone_base_rps=40.0))
    assert gone == trace.play(Group(40.0, 10.0, 0, 0))


def test_what_is_lost_together_is_in_the_share_that_is_served() -> None:
    trace = Trace(days_of_requests(1, mean_rps=40.0), ENGINE)
    missing = SPOT._replace(missing=0.1)
    fleet = choose([missing], trace, Limits(0.95)).best
    calm = choose([SPOT], trace, Limits(0.95)).best
    assert fleet is not None
    assert calm is not None
    # For a tenth of the time half of it is gone.
    whole = trace.play(fleet.group).served
    half = trace.play(fleet.group._replace(gone_share=1 / ZONES)).served
    if not fleet.always and fleet.least == 1:
        assert fleet.served == pytest.approx(whole - 0.1 * (whole - half))
    assert 0.95 <= fleet.served < whole
    assert fleet.usd_per_h > calm.usd_per_h


def test_spot_that_cannot_keep_the_share_is_left_for_machines_on_demand() -> None:
    trace = Trace(days_of_requests(1, mean_rps=40.0), ENGINE)
    # Gone for so long that only twice the peak would do, and dearer than on demand.
    rare = SPOT._replace(missing=0.9, usd_per_h=Decimal("0.2"))
    best = choose([rare, ON_DEMAND], trace, Limits(0.999)).best
    assert best is not None
    assert {option.market for option, _ in best.base} <= {Market.ON_DEMAND}
    assert best.peak is None or best.peak.market is Market.ON_DEMAND
    calm = choose([rare._replace(missing=0.001), ON_DEMAND], trace, Limits(0.9)).best
    assert calm is not None
    assert calm.peak is not None
    assert calm.peak.market is Market.SPOT
