"""Runs on a loopback cloud: opened, driven, killed, reconciled, and held to the invariants."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from tests.support.terms import Terms

from mlbroker.broker.clouds.interface import Cloud, Intent
from mlbroker.broker.ledger import Ledger, Run, open_ledger
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.launch import reserve, worst_case
from mlbroker.broker.runs.order import LaunchOption, Order
from mlbroker.broker.runs.reconcile import Finding, Reconciler
from mlbroker.broker.runs.view import View

PRICE = Decimal("3.6")  # a tenth of a cent a second
# To what a spot price may rise: the vendors' head-room, a quarter.
MOST = Decimal("4.5")
DISK_GB = 50


def intent_on(world: Any, run_id: str, **given: object) -> Intent:
    """An intent as the driver would make it, for an hour from now."""
    now = world.clock.now()
    usual: dict[str, object] = {
        "token": f"mlb-{run_id}-1",
        "run_id": run_id,
        "attempt": 1,
        "job": "job",
        "market": "on_demand",
        "nodes": 1,
        "price_per_hour_usd": PRICE,
        "intended_at": now,
        "kill_at": now + timedelta(hours=1),
        "disk_gb": DISK_GB,
    }
    return Intent(**{**usual, **given})  # type: ignore[arg-type]


class Life(NamedTuple):
    """One machine by the vendor's own records; `ended_at` None while it, or its disk, is there."""

    token: str
    began_at: datetime
    ended_at: datetime | None


@dataclass
class WorldClock:
    """The driver's clock is the loopback cloud's own."""

    world: Any

    def now(self) -> datetime:
        moment: datetime = self.world.clock.now()
        return moment

    def sleep(self, seconds: float) -> None:
        self.world.clock.advance(max(seconds, 0.001))


@dataclass
class CloudRuns:
    """One state folder in front of one loopback cloud, whose own part is in the subclasses."""

    home: Path
    world: Any
    cloud: Any
    candidates: ClassVar[tuple[LaunchOption, ...]]
    cap: ClassVar[str]
    terms: ClassVar[Terms]

    def __post_init__(self) -> None:
        self.clock = WorldClock(self.world)
        self._paid_before: dict[str, Counter[str]] = {}

    def lives(self, run_id: str) -> list[Life]:
        """All machines that the vendor ever made for this run."""
        raise NotImplementedError

    def machines_usd(self, run_id: str) -> float:
        """What the vendor's own meter says of the machines alone."""
        raise NotImplementedError

    def billed_usd(self, run_id: str) -> float:
        """What the vendor bills: machines, disks, addresses, and requests since it was reserved."""
        usd = self.machines_usd(run_id)
        regions = {vm.token: vm.region for vm in self.vms(run_id)}
        for life in self.lives(run_id):
            ended_at = life.ended_at or self.clock.now()
            seconds = max(60.0, (ended_at - life.began_at).total_seconds())
            usd += self.terms.beside_usd(seconds, DISK_GB, regions[life.token])
            usd += self.terms.guest_usd(seconds)
        before = self._paid_before.get(run_id, self.world.paid)
        return usd + self.terms.requests_usd(self.world.paid - before)

    def vms(self, run_id: str) -> list[Any]:
        """All machines of this run that there ever were."""
        return [vm for vm in self.world.vms() if vm.tags.get("mlbroker-run") == run_id]

    def leftovers(self, run_id: str) -> list[str]:
        """What beside machines is left of this run at the vendor's."""
        return []

    @classmethod
    def rising(cls) -> tuple[LaunchOption, ...]:
        """The same places, where a spot machine may come to cost `MOST`."""
        spot = {True: MOST, False: None}
        return tuple(
            replace(c, max_price_per_hour_usd=spot[c.market == "spot"]) for c in cls.candidates
        )

    @property
    def ledger(self) -> Ledger:
        return open_ledger(self.home)

    def opened(self, name: str) -> Cloud:
        cloud: Cloud = self.cloud
        return cloud

    def reserve(
        self,
        run_id: str,
        cap: str | None = None,
        candidates: tuple[LaunchOption, ...] | None = None,
        guest_late_s: int = 0,
    ) -> Run:
        self._paid_before[run_id] = Counter(self.world.paid)
        usd = Decimal(cap or self.cap)
        candidates = tuple(replace(c, disk_gb=DISK_GB) for c in candidates or self.candidates)
        spec = {"command": "true"}
        order = Order(run_id, "job", candidates, spec, guest_late_s=guest_late_s)
        worst = worst_case(candidates[0], usd, self.cloud.traits, guest_late_s)
        return reserve(
            self.ledger, RunFolder.of(self.home, run_id), order, self.clock.now(),
            cap_usd=usd, worst_usd=worst.usd, user="u", project=None, facts={},
        )  # fmt: skip

    def driver(self, run_id: str, secrets: Mapping[str, str] | None = None) -> Driver:
        folder = RunFolder.of(self.home, run_id)
        return Driver(self.ledger, self.opened, self.clock, folder, View(), secrets)

    def launch(
        self,
        run_id: str,
        cap: str | None = None,
        candidates: tuple[LaunchOption, ...] | None = None,
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

    def check(self, *run_ids: str, cap: str | None = None) -> None:
        """The money invariants, against the vendor's own records."""
        usd = Decimal(cap or self.cap)
        assert self.ledger.verify() is None
        now = self.clock.now()
        for run_id in run_ids:
            lives = self.lives(run_id)
            tokens = [life.token for life in lives]
            assert len(tokens) == len(set(tokens)), "two machines for one attempt"
            assert all(life.ended_at for life in lives), "a machine, or its disk, was left"
            left = self.leftovers(run_id)
            assert left == [], left
            spans = sorted((life.began_at, life.ended_at or now) for life in lives)
            for (_, first_end), (second_start, _) in pairwise(spans):
                assert first_end <= second_start, "two machines of one run at a time"
            assert self.billed_usd(run_id) <= float(usd), "over the cap"
            run = self.ledger.run(run_id)
            if run is not None:
                assert run.settled
                assert run.reserved_usd == 0
                assert run.spent_usd <= usd, "over the cap by our own books"
                # A reserve for late ends hides what a bill forgets: not so in the books.
                if lives:
                    billed = self.billed_usd(run_id)
                    assert billed <= run.spent_usd, "the books say less than the vendor's meters"
