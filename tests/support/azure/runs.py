"""Runs on the strict Azure: opened, driven, killed, reconciled, held to the invariants."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

from tests.support.azure.machines import Group
from tests.support.azure.server import StrictAzure

from mlbroker.broker.clouds.azure import AzureCloud
from mlbroker.broker.clouds.seam import Intent
from mlbroker.broker.ledger import Ledger, Run, open_ledger
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.launch import reserve, worst_case
from mlbroker.broker.runs.order import Candidate, Order
from mlbroker.broker.runs.paths import RunFolder
from mlbroker.broker.runs.reconcile import Finding, Reconciler
from mlbroker.broker.runs.view import NoView

PRICE = Decimal("3.6")  # a tenth of a cent a second
TYPE = "Standard_D2s_v5"
CANDIDATES = tuple(
    Candidate("azure", zone.partition("-")[0], TYPE, market, 1, PRICE, zone=zone)
    for market in ("spot", "on_demand")
    for zone in ("eastus-1", "eastus-2", "westeurope")
)
CAP = "2"


def intent(world: StrictAzure, run_id: str = "r1", **changes: object) -> Intent:
    """An intent as the driver would make it."""
    now = world.clock.now()
    given: dict[str, object] = {
        "token": f"mlb-{run_id}-1",
        "run_id": run_id,
        "attempt": 1,
        "job": "job",
        "cloud": "azure",
        "region": "eastus",
        "zone": "eastus-1",
        "instance_type": TYPE,
        "market": "on_demand",
        "nodes": 1,
        "price_per_hour_usd": PRICE,
        "intended_at": now,
        "kill_at": now + timedelta(hours=1),
        "disk_gb": 50,
    }
    return Intent(**{**given, **changes})  # type: ignore[arg-type]


@dataclass
class WorldClock:
    """The driver's clock is the loopback cloud's own."""

    world: StrictAzure

    def now(self) -> datetime:
        return self.world.clock.now()

    def sleep(self, seconds: float) -> None:
        self.world.clock.advance(max(seconds, 0.001))


@dataclass
class AzureRuns:
    """One state folder in front of one loopback cloud."""

    home: Path
    world: StrictAzure
    cloud: AzureCloud = field(default_factory=AzureCloud)

    def __post_init__(self) -> None:
        self.clock = WorldClock(self.world)

    @property
    def ledger(self) -> Ledger:
        return open_ledger(self.home)

    def opened(self, name: str) -> AzureCloud:
        return self.cloud

    def reserve(
        self, run_id: str, cap: str = CAP, candidates: tuple[Candidate, ...] = CANDIDATES
    ) -> Run:
        order = Order(run_id, "job", candidates, {"command": "true"}, disk_gb=50)
        _, worst = worst_case(candidates[0], Decimal(cap), self.cloud.traits)
        return reserve(
            self.ledger, RunFolder.of(self.home, run_id), order, self.clock.now(),
            cap_usd=Decimal(cap), worst_usd=worst, user="u", project=None, facts={},
        )  # fmt: skip

    def driver(self, run_id: str, secrets: Mapping[str, str] | None = None) -> Driver:
        folder = RunFolder.of(self.home, run_id)
        return Driver(self.ledger, self.opened, self.clock, folder, NoView(), secrets)

    def launch(
        self, run_id: str, cap: str = CAP, candidates: tuple[Candidate, ...] = CANDIDATES
    ) -> Run:
        self.reserve(run_id, cap, candidates)
        return self.driver(run_id, {}).drive(run_id)

    def reconcile(self) -> list[Finding]:
        return list(Reconciler(self.ledger, self.opened, self.clock, self.home)())

    def wind_up(self) -> None:
        """What a person does afterwards: reconcile until nothing is open."""
        for _ in range(50):
            self.reconcile()
            if all(run.settled for run in self.ledger.runs()):
                return
            self.clock.sleep(600)
        raise AssertionError([(run.run_id, run.state) for run in self.ledger.runs()])

    def billed_usd(self, run_id: str) -> float:
        """What the vendor's own meter says."""
        return self.world.arm.estate.billed_usd(self._vms(run_id), self.clock.now(), float(PRICE))

    def check(self, *run_ids: str, cap: str = CAP) -> None:
        """The money invariants, against the vendor's own records."""
        assert self.ledger.verify() is None
        now = self.clock.now()
        for run_id in run_ids:
            vms = [vm for vm in self._vms(run_id) if not vm.is_failed]
            tokens = [vm.token for vm in vms]
            assert len(tokens) == len(set(tokens)), "two machines for one attempt"
            assert all(vm.gone_at for vm in vms), "a machine was left"
            groups = self.world.arm.estate.groups.values()
            left = [group.name for group in groups if not group.gone and _is_of(group, run_id)]
            assert not left, "a resource group was left"
            workflows = [w for w in self.world.arm.workflows.all if f"mlb-{run_id}-" in w]
            assert not workflows, "a Logic App was left"
            spans = sorted((vm.created_at, vm.gone_at or now) for vm in vms)
            for (_, first_end), (second_start, _) in pairwise(spans):
                assert first_end <= second_start, "two machines of one run at a time"
            assert self.billed_usd(run_id) <= float(cap), "over the cap"
            run = self.ledger.run(run_id)
            if run is not None:
                assert run.settled
                assert run.reserved_usd == 0
                assert run.spent_usd <= Decimal(cap), "over the cap by our own books"

    def _vms(self, run_id: str) -> list:  # type: ignore[type-arg]
        return [vm for vm in self.world.vms() if vm.tags.get("mlbroker-run") == run_id]


def _is_of(group: Group, run_id: str) -> bool:
    return group.tags.get("mlbroker-run") == run_id and group.state != "Deleting"
