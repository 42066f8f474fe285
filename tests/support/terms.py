"""What vendors bill beside a machine, by their own lists: the loopback clouds' meters.

Written here once more on purpose: the product's bill is held to it, and nothing of it is read here
but the pace at which a machine asks its bucket, which a script in virtual time does not.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from mlbroker.broker.guest.pace import wait_s
from mlbroker.pricing.bucket import HEEDS, WRITES

HOURS_PER_MONTH = 730
# Of each machine: program, job, links, the files that never were there, the last report.
_FIRST_AND_LAST = {"write": 4, "read": 8}
# Premium SSD in East US, USD a month by tier (azure.microsoft.com/pricing/details/managed-disks,
# 2026-11). A disk is billed as the next larger one.
_AZURE_TIERS = {
    4: 0.6, 8: 1.2, 16: 2.4, 32: 5.28, 64: 10.21, 128: 19.71, 256: 38.02, 512: 73.22, 1024: 135.17,
}  # fmt: skip
# West Europe's, over East US's.
_AZURE_REGIONS = {"westeurope": 1.15}
_PD_BALANCED = {"europe-west4": 0.11}


@dataclass(frozen=True)
class Terms:
    """US dollars. `disk_usd_per_month` is of a size in a region, in begun `disk_step_s`."""

    disk_usd_per_month: Callable[[int, str], float]
    write_usd: float
    read_usd: float
    disk_step_s: int = 1
    address_usd_per_hour: float = 0.005

    def beside_usd(self, seconds: float, disk_gb: int, region: str) -> float:
        """Disk and address of a machine that was there for so long."""
        disk_h = ceil(seconds / self.disk_step_s) * self.disk_step_s / 3600
        month = self.disk_usd_per_month(disk_gb, region)
        return month / HOURS_PER_MONTH * disk_h + self.address_usd_per_hour * seconds / 3600

    def guest_usd(self, seconds: float) -> float:
        """The requests of a machine whose job says something new each second."""
        writes = _FIRST_AND_LAST["write"] + 2 * _looks(WRITES, 2, seconds)
        reads = _FIRST_AND_LAST["read"] + _looks(HEEDS, 1, seconds)
        return self.requests_usd({"write": writes, "read": reads})

    def requests_usd(self, paid: dict[str, int]) -> float:
        """Requests to the bucket, by class."""
        return paid.get("write", 0) * self.write_usd + paid.get("read", 0) * self.read_usd


def moving_usd(
    began: datetime, seconds: float, price: float, changes: Iterable[tuple[datetime, float]]
) -> float:
    """A machine whose hour costs at each moment what it costs then."""
    at, until, usd = began, began + timedelta(seconds=seconds), 0.0
    for moment, next_price in [*changes, (until, price)]:
        change = min(max(moment, at), until)
        usd += price * (change - at).total_seconds() / 3600
        at, price = change, next_price
    return usd


def _looks(pace: tuple[float, float, float], each_time: int, seconds: float) -> int:
    at_s, count = 0.0, 0
    while at_s < seconds:
        at_s += each_time * wait_s(*pace, at_s)
        count += 1
    return count


def _tier_usd(disk_gb: int, region: str) -> float:
    tier = min(size for size in _AZURE_TIERS if size >= disk_gb)
    return _AZURE_TIERS[tier] * _AZURE_REGIONS.get(region, 1.0)


# gp3, 3,000 IOPS and 125 MiB/s included (aws.amazon.com/ebs/pricing); S3 where it is dearest.
AWS = Terms(lambda disk_gb, _: disk_gb * 0.08, write_usd=7e-6, read_usd=0.56e-6)
# cloud.google.com/compute/disks-image-pricing and cloud.google.com/storage/pricing.
GCP = Terms(
    lambda disk_gb, region: disk_gb * _PD_BALANCED.get(region, 0.10),
    write_usd=5e-6,
    read_usd=0.4e-6,
)
# Hot LRS in East US: azure.microsoft.com/pricing/details/storage/blobs.
AZURE = Terms(_tier_usd, write_usd=5e-6, read_usd=0.4e-6, disk_step_s=3600)
