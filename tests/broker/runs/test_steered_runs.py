"""Runs whose spot policy says where they are: on a simulated vendor whose machines are taken."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.sim_runs import SimRuns
from tests.support.simulator import Service

from mlbroker.broker.ledger import Run, State
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.launch import reserve, worst_case
from mlbroker.broker.runs.order import LaunchOption, Order, SpotTerms
from mlbroker.broker.runs.reconcile import Did
from mlbroker.broker.runs.summary import live_summary
from mlbroker.broker.runs.view import View
from mlbroker.policies.spot import POLICIES
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.vendors import vendor

WORK_S, BOOT_S, SAVES_S = 7200.0, 180.0, 300.0
ON_DEMAND, SPOT = Decimal(4), Decimal(1)
HOUR_S = 3600


def option(zone: str, market: str, price: Decimal) -> LaunchOption:
    bill = Bill(price, 1, vendor("sim").meter)
    most = ON_DEMAND if market == "spot" else None
    return LaunchOption("sim", "r", "gpu", market, bill, zone=zone, max_price_per_hour_usd=most)


PLACES = (
    option("a", "spot", SPOT),
    option("b", "spot", SPOT * Decimal("1.1")),
    option("a", "on_demand", ON_DEMAND),
    option("b", "on_demand", ON_DEMAND),
)


@dataclass
class Market:
    """The vendor's clock, on which machines are taken and zones run out and come back."""

    service: Service
    due: list[tuple[datetime, Callable[[], None]]] = field(default_factory=list)

    def now(self) -> datetime:
        return self.service.now()

    def sleep(self, seconds: float) -> None:
        until = self.now() + timedelta(seconds=max(seconds, 0.001))
        for at, what in [event for event in self.due if event[0] <= until]:
            self.due.remove((at, what))
            self.service.sleep(max(0.001, (at - self.now()).total_seconds()))
            what()
        if until > self.now():
            self.service.sleep((until - self.now()).total_seconds())

    def outage(self, zone: str, after_s: float, for_s: float) -> None:
        """All spot machines of the zone are taken, and for a while there is none."""
        begin = self.service.now() + timedelta(seconds=after_s)
        self.due.append((begin, lambda: self._falls(zone)))
        self.due.append((begin + timedelta(seconds=for_s), lambda: self._comes_back(zone)))
        self.due.sort(key=lambda event: event[0])

    def _falls(self, zone: str) -> None:
        with self.service.world() as world:
            world.no_capacity.add(f"{zone} spot")
            here = [m for m in world.machines if m.ended_at is None and m.place == f"{zone} spot"]
        if here:
            self.service.preempt()

    def _comes_back(self, zone: str) -> None:
        with self.service.world() as world:
            world.no_capacity.discard(f"{zone} spot")


@dataclass
class Steered:
    sim: SimRuns
    market: Market
    deadline_h: float

    @classmethod
    def of(cls, home: Path, deadline_h: float, cap: str = "20", policy: str = "auto") -> "Steered":
        sim = SimRuns(home)
        sim.cloud.traits = replace(sim.cloud.traits, poll_s=20.0)
        with sim.service.world() as world:
            world.job_s, world.boot_s, world.saves_every_s = WORK_S, BOOT_S, SAVES_S
            world.tells_price = True
        now = sim.service.now()
        order = Order(
            "r1", "job", PLACES, {"command": "true"},
            deadline_at=(now + timedelta(hours=deadline_h)).isoformat(),
            spot=SpotTerms(policy, WORK_S / HOUR_S, 300 / HOUR_S, 60 / HOUR_S, SAVES_S / HOUR_S),
        )  # fmt: skip
        worst = worst_case(PLACES[0], Decimal(cap), sim.cloud.traits)
        reserve(
            sim.ledger, RunFolder.of(home, "r1"), order, now, cap_usd=Decimal(cap),
            worst_usd=worst.usd, user="u", project=None, facts={},
        )  # fmt: skip
        return cls(sim, Market(sim.service), deadline_h)

    def driver(self) -> Driver:
        folder = RunFolder.of(self.sim.home, "r1")
        return Driver(self.sim.ledger, self.sim.opened, self.market, folder, View(), {})  # type: ignore[arg-type]

    def drive(self) -> Run:
        return self.driver().drive("r1")

    @property
    def took_h(self) -> float:
        run = self.sim.ledger.run("r1")
        assert run is not None
        assert run.settled_at is not None
        return (run.settled_at - run.reserved_at).total_seconds() / HOUR_S


def markets(run: Run) -> list[str]:
    """Where it had machines, one after the other."""
    return [f"{a.market} {a.zone}" for a in run.attempts if a.machine_id]


def test_a_quiet_market_is_all_spot(tmp_path: Path) -> None:
    run = (steered := Steered.of(tmp_path, 4)).drive()
    assert run.outcome == "succeeded"
    assert markets(run) == ["spot a"]
    assert run.spent_usd < 3
    steered.sim.check("20")


def test_taken_twice_it_ends_on_demand_in_time(tmp_path: Path) -> None:
    steered = Steered.of(tmp_path, 2.6)
    steered.market.outage("a", 900, 9 * HOUR_S)
    steered.market.outage("b", 2000, 9 * HOUR_S)
    run = steered.drive()
    assert run.outcome == "succeeded"
    assert markets(run)[:2] == ["spot a", "spot b"]
    assert markets(run)[-1].startswith("on_demand")
    assert steered.took_h < 2.6
    steered.sim.check("20")


def test_a_spot_machine_that_vanished_was_taken(tmp_path: Path) -> None:
    """Azure deletes those that it takes, and says nothing of them later."""
    steered = Steered.of(tmp_path, deadline_h=3.5)
    due = steered.market.now() + timedelta(seconds=1800)
    steered.market.due.append((due, lambda: steered.sim.service.console_delete()))
    run = steered.drive()
    assert [attempt.why for attempt in run.attempts] == ["lost", "finished"]
    assert (run.outcome, steered.took_h < 3.5) == ("succeeded", True)
    steered.sim.check("20")


def test_with_time_in_hand_it_waits_for_spot_to_come_back(tmp_path: Path) -> None:
    steered = Steered.of(tmp_path, 12)
    for zone in "ab":
        steered.market.outage(zone, 1800, HOUR_S)
    run = steered.drive()
    assert run.outcome == "succeeded"
    assert all(place.startswith("spot") for place in markets(run))
    assert run.spent_usd < 4
    assert steered.took_h < 12
    steered.sim.check("20")


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_whatever_the_market_does_it_is_in_time_and_within_the_cap(
    policy: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    deadline_h = data.draw(st.floats(2.5, 9))
    steered = Steered.of(tmp_path_factory.mktemp("run"), deadline_h, "11", policy)
    for zone in "ab":
        after_s = data.draw(st.floats(0, 900))
        for _ in range(data.draw(st.integers(0, 6))):
            lasts_s = data.draw(st.floats(30, 5 * HOUR_S))
            steered.market.outage(zone, after_s, lasts_s)
            after_s += lasts_s + data.draw(st.floats(30, 3 * HOUR_S))
    run = steered.drive()
    assert run.outcome == "succeeded"
    assert steered.took_h <= deadline_h
    steered.sim.check("11")
    lives = [(a.began_at, a.ended_at) for a in run.attempts if a.machine_id and a.ended_at]
    assert all(ended <= began for (_, ended), (began, _) in pairwise(lives))


def test_who_reconciles_carries_the_policy_on(tmp_path: Path) -> None:
    steered = Steered.of(tmp_path, 4)
    steered.market.outage("a", 900, 1800)
    driver = steered.driver()
    while driver.advance("r1").state is not State.RUNNING:
        pass
    # The client is dead; its machine is taken, and nobody replaces it.
    steered.market.sleep(1.5 * HOUR_S)
    run = steered.sim.ledger.run("r1")
    assert run is not None
    found = {finding.did for finding in steered.sim.reconcile()}
    assert found <= {Did.STILL_RUNNING, Did.WAITING}
    while not run.settled:
        steered.market.sleep(300)
        steered.sim.reconcile()
        run = steered.sim.ledger.run("r1")
        assert run is not None
    assert run.outcome == "succeeded"
    assert len(markets(run)) > 1
    assert steered.took_h < 4
    steered.sim.check("20")


def test_a_run_that_nobody_carries_is_said_to_be_late(tmp_path: Path) -> None:
    steered = Steered.of(tmp_path, 4)
    for zone in "ab":
        steered.market.outage(zone, 600, 9 * HOUR_S)
    driver = steered.driver()
    while (run := driver.advance("r1")).state is not State.ABSENT:
        pass
    row = live_summary(run, steered.sim.opened, tmp_path, steered.market.now())
    assert (row["phase"], row["unattended"], row["late_h"]) == ("waiting", True, 0)
    row = live_summary(run, steered.sim.opened, tmp_path, steered.market.now() + timedelta(hours=3))
    # It worked for 420 s, of which 300 may be lost; a restart takes 300.
    assert row["late_h"] == pytest.approx((7080 + 300) / HOUR_S - (4 - 3 - 600 / HOUR_S), abs=0.01)
