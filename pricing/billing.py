"""Hours to money, as the vendors bill: minimums, rounding, disk, public address and traffic.

Rules (Linux machines): AWS EC2 bills per second with a minimum of 60 s, as do EBS volumes and
public IPv4 addresses. Google Compute Engine bills machines per second with a minimum of one
minute. Azure bills machines per second and managed SSD disks per full hour. Machines of one's own
bill per second without a minimum. Sources: the three vendors' pricing pages, read 2026-11.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from mlbroker.pricing.region import Region

SECONDS_PER_HOUR = Decimal(3600)
# What amounts of money are rounded to.
MICRO_USD = Decimal("0.000001")
# Vendors turn monthly disk prices into hours by a month of 730 hours.
HOURS_PER_MONTH = Decimal(730)
# First-tier list prices, for a region whose own figure is unknown: the dearest of the three
# clouds' usual ones, so that an unknown place never looks cheap.
USUAL_DISK_USD_PER_GB_MONTH = Decimal("0.12")
USUAL_PUBLIC_IP_USD_PER_HOUR = Decimal("0.005")
USUAL_EGRESS_USD_PER_GB = Decimal("0.12")
USUAL_INTER_REGION_USD_PER_GB = Decimal("0.05")
# Machines of the user's own have no meter for disk, address and traffic.
OWN_CLOUDS = frozenset({"local", "ssh"})


@dataclass(frozen=True, slots=True)
class Meter:
    """How a vendor counts time, in seconds: at least `minimum_s`, disks in full `disk_step_s`."""

    minimum_s: Decimal = Decimal(0)
    disk_step_s: Decimal = Decimal(1)


METERS = {
    "aws": Meter(minimum_s=Decimal(60)),
    "gcp": Meter(minimum_s=Decimal(60)),
    "azure": Meter(minimum_s=Decimal(60), disk_step_s=SECONDS_PER_HOUR),
}


def billed_hours(cloud: str, seconds: Decimal) -> Decimal:
    """Hours on the bill for a machine that was up for `seconds`, in full seconds."""
    meter = METERS.get(cloud, Meter())
    whole = seconds.to_integral_value(rounding=ROUND_CEILING)
    return max(whole, meter.minimum_s) / SECONDS_PER_HOUR


def disk_usd_per_hour(region: Region, disk_gb: int) -> Decimal:
    """Rate of one machine's disk of `disk_gb`; the usual list price where none is known."""
    if region.cloud in OWN_CLOUDS:
        return Decimal(0)
    per_month = region.disk_usd_per_gb_month
    return (
        (USUAL_DISK_USD_PER_GB_MONTH if per_month is None else per_month)
        * disk_gb
        / (HOURS_PER_MONTH)
    )


def disk_usd(region: Region, disk_gb: int, seconds: Decimal) -> Decimal:
    """Cost of one machine's disk that lives for `seconds`."""
    step = METERS.get(region.cloud, Meter()).disk_step_s
    steps = (seconds / step).to_integral_value(rounding=ROUND_CEILING)
    return disk_usd_per_hour(region, disk_gb) * steps * step / SECONDS_PER_HOUR


def public_ip_usd_per_hour(region: Region) -> Decimal:
    """Rate of one public address, which a machine needs to reach its bucket and packages."""
    if region.cloud in OWN_CLOUDS:
        return Decimal(0)
    rate = region.public_ip_usd_per_hour
    return USUAL_PUBLIC_IP_USD_PER_HOUR if rate is None else rate


def transfer_usd_per_gb(source: Region | None, target: Region) -> Decimal:
    """Price of one GB from `source` (None: from outside, the user's own place) to `target`.

    The sender pays. Traffic into a cloud from outside, and within a region, is free.
    """
    if source is None or source.cloud in OWN_CLOUDS or source == target:
        return Decimal(0)
    if source.cloud == target.cloud:
        if source.name == target.name:
            return Decimal(0)
        near = source.geography is not None and source.geography == target.geography
        rate = source.egress_same_cloud_usd_per_gb if near else source.egress_far_usd_per_gb
        return USUAL_INTER_REGION_USD_PER_GB if rate is None else rate
    rate = source.egress_internet_usd_per_gb
    return USUAL_EGRESS_USD_PER_GB if rate is None else rate


def egress_usd_per_gb(source: Region) -> Decimal:
    """Price of one GB from a machine in `source` to the internet."""
    if source.cloud in OWN_CLOUDS:
        return Decimal(0)
    rate = source.egress_internet_usd_per_gb
    return USUAL_EGRESS_USD_PER_GB if rate is None else rate
