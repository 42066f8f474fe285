"""Runs under a spot policy on the loopback clouds: a guest that saves its work, seeded markets."""

import json
import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from tests.support.cloud_runs import DISK_GB, PRICE, CloudRuns
from tests.support.loopback_guests import Script

from mlbroker.broker.ledger import Run
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.launch import reserve, worst_case
from mlbroker.broker.runs.order import LaunchOption, Order, SpotTerms

HOUR_S = 3600.0
WORK_S, SAVES_S, SETUP_S, LOOK_S = 5400.0, 300.0, 60.0, 15.0
# Until a machine works: it is ended in order, seen gone, asked for, boots, and is set up. Azure
# deletes a group before the next one begins.
RESTART_S = {"aws": 420.0, "gcp": 480.0, "azure": 900.0}
TICK_S = 60.0
# The vendor's meter counts a machine on demand as one on spot: our books say no less.
ON_DEMAND = PRICE * 4


class Saves(Script):
    """Works for `WORK_S` in all, whatever the machine; each goes on from what was saved."""

    def __init__(self, of: Script) -> None:
        super().__init__(of._clock, of._bucket, of._power_off)
        self.saved_s: dict[str, float] = {}
        self.worked_s: dict[str, float] = {}

    def start(self, vm: Any) -> None:
        if vm.id in self._booted:
            super().start(vm)
            return
        self._booted.add(vm.id)
        left = int(vm.user_data.partition("left=$((")[2].partition(" -")[0])
        seconds = left - self._clock.now().timestamp()
        self._clock.after(max(1.0, seconds), lambda: self._end_it(vm))
        self._bucket.put_object(vm, "0/log/000000000000000", self.log)
        run_id = vm.tags["mlbroker-run"]
        begins = self._clock.now() + timedelta(seconds=SETUP_S)
        self._look_at(vm, run_id, begins, self.saved_s.get(run_id, 0.0))

    def _look_at(self, vm: Any, run_id: str, begins: datetime, had_s: float) -> None:
        if not self._works(vm):
            return
        worked = max(0.0, (self._clock.now() - begins).total_seconds())
        asked = self._bucket.get_object(vm, "stop")
        if had_s + worked >= WORK_S:
            self._leave_at(vm, run_id, WORK_S - had_s, {"why": "finished", "exit_code": 0})
        elif vm.notice_at is not None or asked is not None:
            self.saved_s[run_id] = had_s + worked
            why = "preempted" if asked is None else asked.decode()
            self._leave_at(vm, run_id, worked, {"why": why, "exit_code": None})
        else:
            whole = had_s + worked // SAVES_S * SAVES_S
            self.saved_s[run_id] = max(self.saved_s.get(run_id, 0.0), whole)
            self._say(vm, worked, None)
            self._clock.after(LOOK_S, lambda: self._look_at(vm, run_id, begins, had_s))

    def _leave_at(self, vm: Any, run_id: str, worked: float, end: dict[str, Any]) -> None:
        self.worked_s[run_id] = self.worked_s.get(run_id, 0.0) + worked
        self._left.add(vm.id)
        self._say(vm, worked, end)
        self._clock.after(5.0, lambda: self._end_it(vm))

    def _say(self, vm: Any, worked: float, end: dict[str, Any] | None) -> None:
        figures = {"command_s": max(worked, 0.001)}
        phase = "running" if worked > 0 else "setup"
        document = {
            "status": {"phase": phase, "elapsed_s": worked, "figures": figures},
            "end": end and end | {"figures": figures},
            "log_bytes": len(self.log),
        }
        self._bucket.put_object(vm, "0/report.json", json.dumps(document).encode())


@dataclass(frozen=True)
class Outage:
    """A place has no spot machines for a while, and those that it has are taken."""

    place: str
    after_s: float
    for_s: float


def place_of(option: LaunchOption) -> str:
    """What runs out at once: a zone; on the loopback Azure a region."""
    return option.region if option.cloud == "azure" else option.zone or option.region


def history(seed: int, places: tuple[str, ...], until_s: float) -> list[Outage]:
    """Outages of mixed lengths, sometimes of all places together."""
    chance = random.Random(seed)
    together = chance.random() < 0.4
    found = []
    mean_up_s, mean_down_s = chance.choice([900, 3600, 14400]), chance.choice([300, 1800, 7200])
    for place in places[:1] if together else places:
        at_s = chance.expovariate(1 / mean_up_s)
        while at_s < until_s:
            for_s = 60 + chance.expovariate(1 / mean_down_s)
            found += [Outage(p, at_s, for_s) for p in (places if together else (place,))]
            at_s += for_s + 60 + chance.expovariate(1 / mean_up_s)
    return found


class Market:
    """Lets a history happen on one loopback cloud."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self._capacity = getattr(world.control, "limits", world.control).capacity

    def play(self, outages: list[Outage]) -> None:
        """From now on."""
        for outage in outages:
            self._world.clock.after(outage.after_s, partial(self._begins, outage.place))
            end_s = outage.after_s + outage.for_s
            self._world.clock.after(end_s, partial(self._ends, outage.place))

    def _begins(self, place: str) -> None:
        self._capacity["*", place, "spot"] = 0
        for vm in self._world.vms():
            here = place in (getattr(vm, "zone", None), getattr(vm, "region", None))
            if here and vm.market == "spot" and vm.works and vm.notice_at is None:
                self._world.control.preempt(vm)

    def _ends(self, place: str) -> None:
        self._capacity.pop(("*", place, "spot"), None)


def options(runs: type[CloudRuns]) -> tuple[LaunchOption, ...]:
    """Spot in two places, and on demand in both."""
    spot = [option for option in runs.candidates if option.market == "spot" and option.zone]
    if spot[0].cloud == "azure":
        spot = [spot[0], spot[-1]]
    dear = [
        replace(
            option,
            market="on_demand",
            bill=replace(option.bill, price_per_hour_usd=ON_DEMAND),
        )
        for option in spot[:2]
    ]
    most = ON_DEMAND
    return (*(replace(o, max_price_per_hour_usd=most) for o in spot[:2]), *dear)


def spot_order(
    runs: CloudRuns,
    run_id: str,
    deadline_h: float,
    cap: str,
    policy: str = "auto",
    places: tuple[LaunchOption, ...] | None = None,
) -> Run:
    """A run under a spot policy, reserved; in the usual places where none are named."""
    named = options(type(runs)) if places is None else places
    found = tuple(replace(option, disk_gb=DISK_GB) for option in named)
    now = runs.clock.now()
    terms = SpotTerms(
        policy,
        work_h=WORK_S / HOUR_S,
        restart_h=RESTART_S[found[0].cloud] / HOUR_S,
        tick_h=TICK_S / HOUR_S,
        lost_h=SAVES_S / HOUR_S,
    )
    order = Order(
        run_id, "job", found, {"command": "true"}, spot=terms,
        deadline_at=(now + timedelta(hours=deadline_h)).isoformat(),
    )  # fmt: skip
    worst = worst_case(found[0], Decimal(cap), runs.cloud.traits)
    return reserve(
        runs.ledger, RunFolder.of(runs.home, run_id), order, now, cap_usd=Decimal(cap),
        worst_usd=worst.usd, user="u", project=None, facts={},
    )  # fmt: skip
