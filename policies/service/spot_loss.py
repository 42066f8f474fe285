"""Spot replicas that a zone loses all at once: how often, and what stands in for them meanwhile.

A service's spot replicas of a type are spread evenly over zones. A zone takes all of them when it
takes one, as often as the type is usually taken, and has none for as long as outages last
(`spot/hazards.py`). What replaces them boots first: spot of another zone where there is some, else
machines on demand, until the zone has spot again.
"""

from decimal import Decimal
from typing import NamedTuple

from mlbroker.policies.service.fleet import Option
from mlbroker.policies.spot.hazards import expected_outage_h
from mlbroker.policies.spot.rates import SPARE
from mlbroker.pricing.billing import MICRO_USD

# Regions have three zones as a rule, and a type is not sold on spot in all of them.
ZONES = 2


class SpotLoss(NamedTuple):
    """Shares of the time: one in which one zone's replicas are `missing`, and of the time of the
    replicas that in which they are `on_demand`."""

    missing: float
    on_demand: float


def spot_loss(per_h: float, boot_s: float, *, falls_back: bool) -> SpotLoss:
    """Of a type that is taken `per_h` times an hour; whether it is sold on demand there too."""
    boot_h, outage_h = boot_s / 3600, expected_outage_h(0.0, 1.0)
    events_per_h = per_h / (1 + per_h * outage_h)
    # Of these no other zone has any: for as long as the outage lasts.
    bare_h = (1 - SPARE) * max(outage_h - boot_h, 0.0)
    missing_h, on_demand_h = (boot_h, bare_h) if falls_back else (boot_h + bare_h, 0.0)
    return SpotLoss(min(1.0, ZONES * events_per_h * missing_h), events_per_h * on_demand_h)


def on_spot(option: Option, per_h: float, boot_s: float, on_demand_usd: Decimal | None) -> Option:
    """The option with what it is missing, at the price of what serves in its place; None: it is
    not sold on demand there."""
    loss = spot_loss(per_h, boot_s, falls_back=on_demand_usd is not None)
    usd = option.usd_per_h
    if on_demand_usd is not None:
        usd += (max(on_demand_usd, usd) - usd) * Decimal(loss.on_demand)
    return option._replace(usd_per_h=usd.quantize(MICRO_USD), missing=loss.missing)
