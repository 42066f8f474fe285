"""What a spot machine may come to cost: head-room, within every limit that is known."""

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlbroker.pricing.offer import Market
from mlbroker.pricing.spot import BID_STEP_USD, at_most_per_hour_usd, most_per_hour_usd
from mlbroker.pricing.vendors import VENDORS, vendor

prices = st.decimals("0.0000001", "900", places=7)
limits = st.none() | prices


@given(st.sampled_from([*VENDORS, "unknown"]), prices, limits, limits)
@example("aws", Decimal("0.0001"), None, None)
@example("azure", Decimal("0.3"), Decimal("0.3"), None)
def test_the_maximum_is_a_bid_that_every_vendor_takes(
    cloud: str, price: Decimal, on_demand: Decimal | None, ceiling: Decimal | None
) -> None:
    most = most_per_hour_usd(cloud, Market.SPOT, price, on_demand, ceiling)
    assert most >= price
    assert float(most) <= at_most_per_hour_usd(cloud, float(price)) * (1 + 1e-12)
    if vendor(cloud).own:
        assert most == price
        return
    assert most > vendor(cloud).least_bid_usd
    assert most == most.quantize(BID_STEP_USD), "Azure takes five decimals"
    floor = max(price, vendor(cloud).least_bid_usd)
    for limit in (on_demand, ceiling):
        if limit is not None and limit >= floor:
            assert most <= limit + BID_STEP_USD
    assert most <= max(price * vendor(cloud).spot_headroom, floor + BID_STEP_USD)


@pytest.mark.parametrize("cloud", ["aws", "azure", "gcp"])
def test_a_spot_price_has_head_room_and_one_on_demand_needs_none(cloud: str) -> None:
    price, on_demand = Decimal("0.4"), Decimal("0.45")
    assert most_per_hour_usd(cloud, Market.SPOT, price) == Decimal("0.5")
    assert most_per_hour_usd(cloud, Market.SPOT, price, on_demand) == on_demand
    assert most_per_hour_usd(cloud, Market.ON_DEMAND, price, on_demand) == price
