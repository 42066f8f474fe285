"""Runs on the strict Google Cloud."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar

from tests.support.cloud_runs import DISK_GB, PRICE, CloudRuns, Life, intent_on
from tests.support.gcp.server import StrictGcp
from tests.support.terms import GCP, Terms

from mlbroker.broker.clouds.gcp.cloud import GcpCloud
from mlbroker.broker.clouds.interface import Intent
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.region import Region

TYPE = "e2-standard-2"
# What pd-balanced costs, by region.
DISK_USD = {"us-central1": Decimal("0.10"), "europe-west4": Decimal("0.11")}


def bill_in(region: str) -> Bill:
    """A machine of the tests there."""
    disk = DISK_USD[region]
    place = Region(
        "gcp", region, disk_usd_per_gb_month=disk, public_ip_usd_per_hour=Decimal("0.005")
    )
    return Bill.of(place, PRICE, 1, DISK_GB)


CANDIDATES = tuple(
    LaunchOption("gcp", region, TYPE, market, bill_in(region), zone=zone)
    for market in ("spot", "on_demand")
    for zone in ("us-central1-a", "us-central1-b", "europe-west4-a")
    for region in (zone.rpartition("-")[0],)
)


def intent(world: StrictGcp, run_id: str = "r1", **changes: object) -> Intent:
    """An intent as the driver would make it."""
    usual: dict[str, Any] = {
        "cloud": "gcp",
        "region": "us-central1",
        "zone": "us-central1-a",
        "instance_type": TYPE,
    }
    return intent_on(world, run_id, **{**usual, **changes})


@dataclass
class GcpRuns(CloudRuns):
    """One state folder in front of one loopback cloud."""

    cloud: GcpCloud = field(default_factory=GcpCloud)
    candidates: ClassVar = CANDIDATES
    cap: ClassVar = "2"
    terms: ClassVar[Terms] = GCP

    def lives(self, run_id: str) -> list[Life]:
        return [Life(vm.token, vm.created_at, vm.gone_at) for vm in self.vms(run_id)]

    def machines_usd(self, run_id: str) -> float:
        usd: float = self.world.gce.machines.billed_usd(self.vms(run_id), float(PRICE))
        return usd
