"""A run that waits for its own node leaves for a rented machine, or waits on."""

import socket
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.support.sim_runs import CANDIDATES, SimRuns
from tests.support.simulator import SimCloud

from mlbroker.broker.clouds.interface import Cloud
from mlbroker.broker.ledger import Run, State
from mlbroker.broker.runs.asking import Asking
from mlbroker.broker.runs.attempt import next_intent
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.launch import reserve
from mlbroker.broker.runs.order import LaunchOption, Order
from mlbroker.broker.runs.placing import Next, Placing, Waits
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.vendors import vendor

BOX = LaunchOption(
    "local", "on-prem", "box", "on_demand", Bill(Decimal(1), 1, vendor("local").meter)
)
PLACE = f"local@{socket.gethostname()}/box"


class FullBox(SimCloud):
    """A node with one place, which somebody has."""

    def places(self, instance_type: str) -> int | None:
        return 1

    def has_room(self, instance_type: str, places: int = 1) -> bool:
        return False


class Waiting:
    """One run that has the node, and `due`, which waits for it and can wait no longer."""

    def __init__(self, home: Path) -> None:
        self.sim = SimRuns(home)
        clouds: dict[str, Cloud] = {"local": FullBox(self.sim.service), "sim": self.sim.cloud}
        clock: Any = self.sim.service
        ask = Asking(clouds.__getitem__, clock, patient=True)
        self.warned: list[str] = []
        self.placing = Placing(
            self.sim.ledger, clouds.__getitem__, clock, ask, self.warned.append, home
        )
        self.now = clock.now()
        self._fill()
        self.order = Order("due", "due", (BOX, *CANDIDATES[:2]), {"command": "true"})
        hours = {"duration_h": [0.2, 0.4, 0.8], "command_s": None}
        self._open(
            self.order, prediction=hours, deadline_at=(self.now + timedelta(minutes=45)).isoformat()
        )  # fmt: skip

    def _open(self, order: Order, **facts: Any) -> Run:
        told = {"value_usd_per_h": "1", "team": None, "yields": False, "places": [PLACE]}
        return reserve(
            self.sim.ledger, RunFolder.of(self.sim.home, order.run_id), order, self.now,
            cap_usd=Decimal(10), worst_usd=Decimal(10), user="u", project=None,
            facts={"queue": told, **facts}, waits=lambda runs: bool(runs),
        )  # fmt: skip

    def _fill(self) -> None:
        order = Order("first", "first", (BOX,), {"command": "true"})
        run = self._open(order, prediction={"duration_h": [5, 10, 20], "command_s": None})
        worst = BOX.bill.worst_case(Decimal(10), 2)
        assert worst is not None
        intent = next_intent(run, order, BOX, "", worst, self.now)
        created = {"machine_id": "m", "started_at": self.now.isoformat()}
        facts = {
            "intended": intent,
            "armed": {},
            "created": created,
            "confirmed": {},
            "running": {},
        }
        for kind, body in facts.items():
            self.sim.ledger.append(self.now, "first", kind, body)

    @property
    def run(self) -> Run:
        run = self.sim.ledger.run("due")
        assert run is not None
        return run

    def next(self) -> Any:
        return self.placing.next(self.run, self.order, None)

    def refused(self, place: Next) -> None:
        """It was asked for, and there is none."""
        intent = next_intent(
            self.run, self.order, place.option, place.account, place.worst, self.now
        )
        began = self.placing.start(self.run, self.order, place, intent)
        assert isinstance(began, Run)
        assert began.state is State.INTENDED
        for kind in ("armed", "refused", "absent", "queued"):
            why = {"why": "no_capacity", "made_nothing": True}
            self.sim.ledger.append(self.now, "due", kind, why)


@pytest.fixture
def waiting(tmp_path: Path) -> Waiting:
    return Waiting(tmp_path)


def test_a_deadline_that_cannot_wait_is_rented_and_others_than_those_that_refused(
    waiting: Waiting,
) -> None:
    assert waiting.run.state is State.QUEUED
    for candidate in CANDIDATES[:2]:
        found = waiting.next()
        assert isinstance(found, Next)
        assert found.option.instance_type == candidate.instance_type
        assert waiting.run.held_usd == 0
        waiting.refused(found)
    # Nothing is left to rent: it waits on for its place.
    assert isinstance(waiting.next(), Waits)
    assert all("leaves for a rented machine" in told for told in waiting.warned)


def test_without_a_deadline_it_waits(waiting: Waiting) -> None:
    patient = replace(waiting.order, run_id="patient", candidates=(BOX,))
    waiting._open(patient)
    run = waiting.sim.ledger.run("patient")
    assert run is not None
    assert isinstance(waiting.placing.next(run, patient, None), Waits)
