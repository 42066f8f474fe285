"""Runs on the strict AWS."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar

from tests.support.aws.server import StrictAws
from tests.support.cloud_runs import DISK_GB, PRICE, CloudRuns, Life, intent_on
from tests.support.terms import AWS, Terms

from mlbroker.broker.clouds.aws.cloud import AwsCloud
from mlbroker.broker.clouds.interface import Intent
from mlbroker.broker.ledger import Run
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.region import Region

# What gp3 and an address cost in the regions of the tests.
REGION = Region(
    "aws", "r", disk_usd_per_gb_month=Decimal("0.08"), public_ip_usd_per_hour=Decimal("0.005")
)
BILL = Bill.of(REGION, PRICE, 1, DISK_GB)
CANDIDATES = tuple(
    LaunchOption("aws", region, "m5.large", market, BILL, zone=zone)
    for market in ("spot", "on_demand")
    for region, zone in (
        ("us-east-1", "us-east-1a"),
        ("us-east-1", "us-east-1b"),
        ("us-west-2", None),
    )
)

SPOT_ZONES = ("us-east-1a", "us-east-1b", "us-west-2a")


def intent(world: StrictAws, run_id: str = "r1", **changes: object) -> Intent:
    """An intent as the driver would make it."""
    usual: dict[str, Any] = {
        "cloud": "aws",
        "region": "us-east-1",
        "zone": None,
        "instance_type": "m5.large",
    }
    return intent_on(world, run_id, **{**usual, **changes})


@dataclass
class AwsRuns(CloudRuns):
    """One state folder in front of one loopback cloud."""

    cloud: AwsCloud = field(default_factory=AwsCloud)
    candidates: ClassVar = CANDIDATES
    cap: ClassVar = "2"
    terms: ClassVar[Terms] = AWS

    def lives(self, run_id: str) -> list[Life]:
        return [
            Life(vm.token, vm.launched_at, vm.ends_at and vm.ends_at.replace(microsecond=0))
            for vm in self.vms(run_id)
        ]

    def machines_usd(self, run_id: str) -> float:
        usd: float = self.world.ec2.billed_usd(self.vms(run_id), float(PRICE))
        return usd

    def reserve(self, run_id: str, *more: Any, **named: Any) -> Run:
        """Spot machines cost what was planned, unless a test says otherwise."""
        for zone in SPOT_ZONES:
            if not self.world.ec2.spot.is_set(zone):
                self.world.ec2.ask(zone, "m5.large", float(PRICE))
        return super().reserve(run_id, *more, **named)

    def leftovers(self, run_id: str) -> list[str]:
        """Schedules."""
        names = [schedule.name for schedule in self.world.kills.schedules()]
        return [name for name in names if name.removeprefix("mlb-").rpartition("-")[0] == run_id]
