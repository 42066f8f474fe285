"""What is particular to each place where machines are bought: one record a cloud."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Meter:
    """How a vendor counts time, in seconds: at least `minimum_s`, disks in begun `disk_step_s`."""

    minimum_s: Decimal = Decimal(0)
    disk_step_s: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class Vendor:
    """One cloud. `own` machines are the user's: nobody meters their disk, address and traffic."""

    meter: Meter
    own: bool = False


# Linux machines, from the vendors' pricing pages, read 2026-11. AWS EC2 bills per second with a
# minimum of 60 s, as do EBS volumes and public IPv4 addresses. Google Compute Engine bills
# machines per second with a minimum of one minute. Azure bills machines per second and managed
# SSD disks per full hour. Machines of one's own bill per second without a minimum.
VENDORS = {
    "aws": Vendor(Meter(Decimal(60))),
    "gcp": Vendor(Meter(Decimal(60))),
    "azure": Vendor(Meter(Decimal(60), Decimal(3600))),
    "ssh": Vendor(Meter(), own=True),
    "local": Vendor(Meter(), own=True),
}
# A cloud that nobody described never looks cheap: it counts as the strictest of those known.
_UNKNOWN = Vendor(Meter(Decimal(60), Decimal(3600)))


def vendor(cloud: str) -> Vendor:
    """The record of a cloud; a cautious one where there is none."""
    return VENDORS.get(cloud, _UNKNOWN)
