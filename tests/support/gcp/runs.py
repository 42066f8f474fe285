"""Runs on the strict Google Cloud."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from tests.support.cloud_runs import PRICE, CloudRuns, Life, intent_on
from tests.support.gcp.server import StrictGcp

from mlbroker.broker.clouds.gcp.cloud import GcpCloud
from mlbroker.broker.clouds.interface import Intent
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.vendors import vendor

TYPE = "e2-standard-2"
BILL = Bill(PRICE, 1, vendor("gcp").meter)
CANDIDATES = tuple(
    LaunchOption("gcp", zone.rpartition("-")[0], TYPE, market, BILL, zone=zone)
    for market in ("spot", "on_demand")
    for zone in ("us-central1-a", "us-central1-b", "europe-west4-a")
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

    def lives(self, run_id: str) -> list[Life]:
        return [Life(vm.token, vm.created_at, vm.gone_at) for vm in self.vms(run_id)]

    def billed_usd(self, run_id: str) -> float:
        usd: float = self.world.gce.machines.billed_usd(self.vms(run_id), float(PRICE))
        return usd
