"""Spot machines: what may have to be paid for an hour at most, while the price moves."""

from decimal import ROUND_DOWN, ROUND_UP, Decimal

from mlbroker.pricing.offer import Market
from mlbroker.pricing.vendors import vendor

# Azure takes bids in steps of so much (REST reference, BillingProfile.maxPrice: five decimals).
BID_STEP_USD = Decimal("0.00001")


def most_per_hour_usd(
    cloud: str,
    market: Market,
    price_per_hour_usd: Decimal,
    *limits_usd: Decimal | None,
) -> Decimal:
    """What one machine may cost an hour: the bid, where the vendor takes one.

    A spot machine's price plus the vendor's head-room, no further than `limits_usd` (the price on
    demand, the user's own ceiling; None where unknown), and above the vendor's least bid.
    """
    sold_by = vendor(cloud)
    if market is not Market.SPOT or sold_by.own:
        return price_per_hour_usd
    known = [limit for limit in limits_usd if limit is not None]
    most = min([price_per_hour_usd * sold_by.spot_headroom, *known])
    least = max(price_per_hour_usd, sold_by.least_bid_usd + BID_STEP_USD)
    return max(most.quantize(BID_STEP_USD, ROUND_DOWN), least.quantize(BID_STEP_USD, ROUND_UP))


def at_most_per_hour_usd(cloud: str, usd: float) -> float:
    """No less than `most_per_hour_usd` of a spot price, whatever the limits: for screening."""
    sold_by = vendor(cloud)
    if sold_by.own:
        return usd
    step = float(BID_STEP_USD)
    return max(usd * float(sold_by.spot_headroom), usd + step, float(sold_by.least_bid_usd) + step)
