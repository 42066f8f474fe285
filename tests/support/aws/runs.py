"""Runs on the strict AWS."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from tests.support.aws.ec2 import billed_usd
from tests.support.aws.server import StrictAws
from tests.support.cloud_runs import PRICE, CloudRuns, Life, intent_on

from mlbroker.broker.clouds.aws.cloud import AwsCloud
from mlbroker.broker.clouds.interface import Intent
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.vendors import vendor

BILL = Bill(PRICE, 1, vendor("aws").meter)
CANDIDATES = tuple(
    LaunchOption("aws", region, "m5.large", market, BILL, zone=zone)
    for market in ("spot", "on_demand")
    for region, zone in (
        ("us-east-1", "us-east-1a"),
        ("us-east-1", "us-east-1b"),
        ("us-west-2", None),
    )
)


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

    def lives(self, run_id: str) -> list[Life]:
        return [Life(vm.token, vm.launched_at, vm.ends_at) for vm in self.vms(run_id)]

    def billed_usd(self, run_id: str) -> float:
        return billed_usd(self.vms(run_id), float(PRICE), self.clock.now())

    def leftovers(self, run_id: str) -> list[str]:
        """Schedules."""
        names = [schedule.name for schedule in self.world.kills.schedules()]
        return [name for name in names if name.removeprefix("mlb-").rpartition("-")[0] == run_id]
