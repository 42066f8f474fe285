"""Runs on the simulator: opened, driven, crashed, reconciled, and held to the invariants."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.support.simulator import Service, SimCloud, billed_usd

from mlbroker.broker.clouds.interface import Cloud
from mlbroker.broker.ledger import Ledger, Run, open_ledger
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.launch import reserve, worst_case
from mlbroker.broker.runs.order import LaunchOption, Order
from mlbroker.broker.runs.reconcile import Finding, Reconciler
from mlbroker.broker.runs.view import View
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.vendors import vendor

PRICE = Decimal(36)  # a cent a second
MOST = PRICE * 5 / 4
BILL = Bill(PRICE, 1, vendor("sim").meter)
CANDIDATES = tuple(
    LaunchOption("sim", "r", kind, "spot", BILL) for kind in ("small", "medium", "large")
)
# What they cost may rise by a quarter while they run.
RISING = tuple(replace(candidate, max_price_per_hour_usd=MOST) for candidate in CANDIDATES)


@dataclass
class SimRuns:
    """One state folder and one vendor."""

    home: Path
    service: Service = field(default_factory=Service)
    candidates: tuple[LaunchOption, ...] = CANDIDATES

    def __post_init__(self) -> None:
        self.cloud: Any = SimCloud(self.service)

    @property
    def ledger(self) -> Ledger:
        return open_ledger(self.home)

    def opened(self, name: str) -> Cloud:
        cloud: Cloud = self.cloud
        return cloud

    def reserve(self, run_id: str = "r1", cap: str = "10", nodes: int = 1) -> Run:
        candidates = tuple(replace(c, bill=replace(c.bill, nodes=nodes)) for c in self.candidates)
        order = Order(run_id, "job", candidates, {"command": "true"})
        worst = worst_case(candidates[0], Decimal(cap), self.cloud.traits)
        return reserve(
            self.ledger, RunFolder.of(self.home, run_id), order, self.service.now(),
            cap_usd=Decimal(cap), worst_usd=worst.usd, user="u", project=None, facts={},
        )  # fmt: skip

    def driver(
        self,
        run_id: str = "r1",
        secrets: Mapping[str, str] | None = None,
        patient: bool = True,
        view: View | None = None,
    ) -> Driver:
        folder = RunFolder.of(self.home, run_id)
        return Driver(
            self.ledger, self.opened, self.service, folder, view or View(), secrets,
            patient=patient,
        )  # fmt: skip

    def launch(self, run_id: str = "r1", cap: str = "10", nodes: int = 1) -> Run:
        self.reserve(run_id, cap, nodes)
        return self.driver(run_id, {}).drive(run_id)

    def reconcile(self) -> list[Finding]:
        return list(Reconciler(self.ledger, self.opened, self.service, self.home)())

    def wind_up(self) -> None:
        """What a person does afterwards: reconcile until nothing is open."""
        for _ in range(50):
            self.reconcile()
            if all(run.settled for run in self.ledger.runs()):
                return
            self.service.sleep(600)
        raise AssertionError([run.state for run in self.ledger.runs()])

    def check(self, cap: str = "10") -> None:
        """The money invariants, against the vendor's own records."""
        assert self.ledger.verify() is None
        with self.service.world() as world:
            machines = list(world.machines)
            now = world.now
        tokens = [machine.token for machine in machines]
        assert len(tokens) == len(set(tokens)), "two machines for one attempt"
        assert all(machine.ended_at for machine in machines), "a machine was left"
        by_run: dict[str, list[tuple[float, float]]] = {}
        done: dict[str, str] = {}
        for machine in sorted(machines, key=lambda machine: machine.started_at):
            run_id = machine.tags["mlbroker-run"]
            assert run_id not in done, f"run again after {done[run_id]} had ended"
            if machine.end is not None and machine.end["why"] in ("finished", "failed"):
                done[run_id] = machine.token
            ended = machine.ended_at or now
            by_run.setdefault(machine.tags["mlbroker-run"], []).append(
                (machine.started_at.timestamp(), ended.timestamp())
            )
        for spans in by_run.values():
            spans.sort()
            for (_, first_end), (second_start, _) in pairwise(spans):
                assert first_end <= second_start, "two machines of one run at a time"
        for run in self.ledger.runs():
            assert run.settled
            assert run.reserved_usd == 0
            assert run.spent_usd <= Decimal(cap), "over the cap by our own books"
            billed = billed_usd(self.service, run.run_id)
            assert billed <= Decimal(cap), "over the cap by the vendor's meter"
            assert billed <= run.spent_usd, "the books say less than the vendor's meter"
