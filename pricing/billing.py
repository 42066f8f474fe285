"""The bill: what machines cost that were up for so long, in a quote, a reservation and a charge.

The three must agree to the micro-dollar, or a cap is a wish: so they are one `Bill`, made from the
price of a machine, the region's side prices and the vendor's meter.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_UP, Decimal
from typing import NamedTuple

from mlbroker.pricing.region import Region
from mlbroker.pricing.vendors import Meter, vendor

SECONDS_PER_HOUR = Decimal(3600)
# What amounts of money are rounded to.
MICRO_USD = Decimal("0.000001")
# However large the budget: no run outlives this, and no vendor's timer is set further ahead.
LONGEST_S = Decimal(100 * 86400)
# Vendors turn monthly disk prices into hours by a month of 730 hours.
HOURS_PER_MONTH = Decimal(730)
# First-tier list prices, for a region whose own figure is unknown: the dearest of the three
# clouds' usual ones, so that an unknown place never looks cheap.
USUAL_DISK_USD_PER_GB_MONTH = Decimal("0.12")
USUAL_PUBLIC_IP_USD_PER_HOUR = Decimal("0.005")
USUAL_EGRESS_USD_PER_GB = Decimal("0.12")
USUAL_INTER_REGION_USD_PER_GB = Decimal("0.05")


@dataclass(frozen=True, slots=True)
class Bill:
    """What `nodes` equal machines cost: each by the hour, and all of them once.

    Machines and addresses are counted in begun seconds, disks in begun steps of the meter.
    `once_usd` is the traffic, or the allowance for it. Each machine's requests to the bucket cost
    `requests_usd_per_hour`, and `requests_once_usd` at its beginning and end.
    """

    price_per_hour_usd: Decimal
    nodes: int
    meter: Meter
    disk_usd_per_hour: Decimal = Decimal(0)
    address_usd_per_hour: Decimal = Decimal(0)
    once_usd: Decimal = Decimal(0)
    requests_usd_per_hour: Decimal = Decimal(0)
    requests_once_usd: Decimal = Decimal(0)

    @classmethod
    def of(
        cls,
        region: Region,
        price_per_hour_usd: Decimal,
        nodes: int,
        disk_gb: int,
        once_usd: Decimal = Decimal(0),
    ) -> "Bill":
        """The bill of machines in `region`; the usual side prices where its own are unknown."""
        sold_by = vendor(region.cloud)
        if sold_by.own:
            return cls(price_per_hour_usd, nodes, sold_by.meter, once_usd=once_usd)
        disk, address = region.disk_usd_per_gb_month, region.public_ip_usd_per_hour
        per_month = USUAL_DISK_USD_PER_GB_MONTH if disk is None else disk
        return cls(
            price_per_hour_usd,
            nodes,
            sold_by.meter,
            disk_usd_per_hour=per_month * sold_by.billed_disk_gb(disk_gb) / HOURS_PER_MONTH,
            address_usd_per_hour=USUAL_PUBLIC_IP_USD_PER_HOUR if address is None else address,
            once_usd=once_usd,
            requests_usd_per_hour=sold_by.requests.usd_per_hour,
            requests_once_usd=sold_by.requests.once_usd(nodes),
        )

    @property
    def usd_per_hour(self) -> Decimal:
        """All that an hour of all machines costs."""
        by_the_second = self.address_usd_per_hour + self.requests_usd_per_hour
        return (self.price_per_hour_usd + self.disk_usd_per_hour + by_the_second) * self.nodes

    def machines_usd(self, seconds: Decimal) -> Decimal:
        """The machines alone, up for `seconds`."""
        return self.price_per_hour_usd * self.nodes * self._billed_s(seconds) / SECONDS_PER_HOUR

    def storage_usd(self, seconds: Decimal) -> Decimal:
        """Their disks, addresses and requests to the bucket."""
        billed_s, step_s = self._billed_s(seconds), self.meter.disk_step_s
        disk_s = (billed_s / step_s).to_integral_value(ROUND_CEILING) * step_s
        by_the_second = self.address_usd_per_hour + self.requests_usd_per_hour
        timed = self.disk_usd_per_hour * disk_s + by_the_second * billed_s
        return (timed / SECONDS_PER_HOUR + self.requests_once_usd) * self.nodes

    def usd(self, seconds: Decimal) -> Decimal:
        """Everything, unrounded."""
        return self.machines_usd(seconds) + self.storage_usd(seconds) + self.once_usd

    def charge_usd(self, seconds: Decimal) -> Decimal:
        """Everything, rounded up to a millionth of a dollar. A longer life never costs less."""
        return self.usd(seconds).quantize(MICRO_USD, ROUND_UP)

    def worst_case(self, cap_usd: Decimal, slack_s: float, step_s: int = 0) -> "WorstCase | None":
        """The longest life that fits under the cap at its worst; None when none does.

        At the worst, machines bill for `slack_s` after the kill time. Where kill times come in
        steps, the life is a whole number of `step_s`.
        """
        if self.usd_per_hour < 0:
            return None
        slack = Decimal(str(slack_s))
        most_s = int((LONGEST_S + slack).to_integral_value(ROUND_CEILING))
        up_s = _last(most_s, lambda seconds: self.charge_usd(Decimal(seconds)) <= cap_usd)
        lifetime_s = min(up_s - slack, LONGEST_S)
        if step_s:
            lifetime_s -= lifetime_s % step_s
        if lifetime_s <= 0:
            return None
        return WorstCase(lifetime_s, self.charge_usd(lifetime_s + slack))

    def _billed_s(self, seconds: Decimal) -> Decimal:
        return max(seconds.to_integral_value(ROUND_CEILING), self.meter.minimum_s)


class WorstCase(NamedTuple):
    """When machines have to be ended so that their cap holds, and what they can come to cost, with
    `allowance_usd` for what is brought home of them.
    """

    lifetime_s: Decimal
    usd: Decimal
    allowance_usd: Decimal = Decimal(0)


def _last(most: int, holds: Callable[[int], bool]) -> int:
    """The last number up to `most` for which it holds, given that it holds up to some number."""
    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def transfer_usd_per_gb(source: Region | None, target: Region) -> Decimal:
    """Price of one GB from `source` (None: from outside, the user's own place) to `target`.

    The sender pays. Traffic into a cloud from outside, and within a region, is free.
    """
    if source is None or vendor(source.cloud).own or source == target:
        return Decimal(0)
    if source.cloud == target.cloud:
        if source.name == target.name:
            return Decimal(0)
        near = source.geography is not None and source.geography == target.geography
        rate = source.egress_same_cloud_usd_per_gb if near else source.egress_far_usd_per_gb
        return USUAL_INTER_REGION_USD_PER_GB if rate is None else rate
    return egress_usd_per_gb(source)


def egress_usd_per_gb(source: Region) -> Decimal:
    """Price of one GB from a machine in `source` to the internet."""
    if vendor(source.cloud).own:
        return Decimal(0)
    rate = source.egress_internet_usd_per_gb
    return USUAL_EGRESS_USD_PER_GB if rate is None else rate


def parts_usd_per_gb(source: Region) -> Decimal:
    """Price of the requests by which one GB of outputs goes through the bucket."""
    sold_by = vendor(source.cloud)
    return Decimal(0) if sold_by.own else sold_by.requests.usd_per_gb
