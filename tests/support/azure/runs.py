"""Runs on the strict Azure."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar

from tests.support.azure.machines import Group
from tests.support.azure.server import StrictAzure
from tests.support.cloud_runs import DISK_GB, PRICE, CloudRuns, Life, intent_on
from tests.support.terms import AZURE, Terms

from mlbroker.broker.clouds.azure.cloud import AzureCloud
from mlbroker.broker.clouds.interface import Intent
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.region import Region

TYPE = "Standard_D2s_v5"
# What a GiB of a P10 costs, by region.
DISK_USD = {"eastus": Decimal("0.154"), "westeurope": Decimal("0.1771")}


def bill_in(region: str) -> Bill:
    """A machine of the tests there."""
    disk = DISK_USD[region]
    place = Region(
        "azure", region, disk_usd_per_gb_month=disk, public_ip_usd_per_hour=Decimal("0.005")
    )
    return Bill.of(place, PRICE, 1, DISK_GB)


CANDIDATES = tuple(
    LaunchOption("azure", region, TYPE, market, bill_in(region), zone=zone)
    for market in ("spot", "on_demand")
    for zone in ("eastus-1", "eastus-2", "westeurope")
    for region in (zone.partition("-")[0],)
)


def intent(world: StrictAzure, run_id: str = "r1", **changes: object) -> Intent:
    """An intent as the driver would make it."""
    usual: dict[str, Any] = {
        "cloud": "azure",
        "region": "eastus",
        "zone": "eastus-1",
        "instance_type": TYPE,
    }
    return intent_on(world, run_id, **{**usual, **changes})


@dataclass
class AzureRuns(CloudRuns):
    """One state folder in front of one loopback cloud."""

    cloud: AzureCloud = field(default_factory=AzureCloud)
    candidates: ClassVar = CANDIDATES
    cap: ClassVar = "2"
    terms: ClassVar[Terms] = AZURE

    def lives(self, run_id: str) -> list[Life]:
        vms = [vm for vm in self.vms(run_id) if not vm.is_failed]
        return [Life(vm.token, vm.created_at, vm.gone_at) for vm in vms]

    def machines_usd(self, run_id: str) -> float:
        now = self.clock.now()
        usd: float = self.world.arm.machines.billed_usd(self.vms(run_id), now, float(PRICE))
        return usd

    def leftovers(self, run_id: str) -> list[str]:
        """Resource groups and Logic Apps."""
        groups = self.world.arm.machines.groups.values()
        left = [group.name for group in groups if not group.gone and _is_of(group, run_id)]
        return left + [w for w in self.world.arm.workflows.all if f"mlb-{run_id}-" in w]


def _is_of(group: Group, run_id: str) -> bool:
    return group.tags.get("mlbroker-run") == run_id and group.state != "Deleting"
