"""A cloud made of values: a vendor's service with its own clock, faults on demand, and a meter.

The service outlives its clients: with a `path` its state is a file, so that a client may be
killed with -9 between any two calls, and the next one finds what the vendor would have kept.
"""

import math
import pickle
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_UP, Decimal
from pathlib import Path
from typing import Any

from mlbroker.broker.clouds.guest_report import Report, report_of
from mlbroker.broker.clouds.interface import (
    RUN_TAG,
    Denied,
    Intent,
    Machine,
    MachineState,
    NoCapacity,
    NoQuota,
    Payload,
    Traits,
    Unclear,
    Unfit,
    refusals_make_nothing,
)

EPOCH = datetime(2026, 11, 24, 12, tzinfo=UTC)
GONE = MachineState.TERMINATED


@dataclass
class SimMachine:
    id: str
    token: str
    tags: dict[str, str]
    started_at: datetime
    duration_s: float
    code: int
    ended_at: datetime | None = None
    deletes_that_fail: int = 0
    preempted: bool = False
    stop: str | None = None
    end: dict[str, Any] | None = None
    # The price of an hour, and what it rises to so many seconds after the start.
    usd_per_hour: Decimal = Decimal(0)
    risen_usd_per_hour: Decimal = Decimal(0)
    rises_after_s: float = math.inf
    # When its last files have been brought to where they can be fetched.
    packed_at: datetime = EPOCH
    # The work that was done, and saved, before this machine; it boots first.
    place: str = ""
    before_s: float = 0.0
    boot_s: float = 0.0

    def worked_s(self, until: datetime) -> float:
        """Seconds of the job's command."""
        span_s = (min(until, self.ended_at or until) - self.started_at).total_seconds()
        return min(self.duration_s - self.boot_s, max(0.0, span_s - self.boot_s))


@dataclass
class World:
    """Everything the vendor knows. `calls` counts API calls by name."""

    now: datetime = EPOCH
    machines: list[SimMachine] = field(default_factory=list)
    armed: dict[str, datetime] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    # Faults: how many of the next calls of a name go which way.
    lost_before: Counter[str] = field(default_factory=Counter)
    lost_after: Counter[str] = field(default_factory=Counter)
    no_capacity: set[str] = field(default_factory=set)
    no_quota: set[str] = field(default_factory=set)
    unfit: set[str] = field(default_factory=set)
    # The next so many creates are given up by the client, and arrive so much later.
    late_creates: int = 0
    late_s: float = 10.0
    late: list[tuple[datetime, "SimMachine"]] = field(default_factory=list)
    hidden_s: float = 0.0
    failing_deletes: int = 0
    job_s: float = 30.0
    job_code: int = 0
    packing_s: float = 0.0
    broken_kill: bool = False
    # Of spot prices: when in a machine's life they rise to the bid, and whether the vendor tells.
    rises_after_s: float = math.inf
    tells_price: bool = False
    # It does not tell when machines ended.
    forgetful: bool = False
    # Machines boot so long, and the job saves its work so often; None: it never does.
    boot_s: float = 0.0
    saves_every_s: float | None = None
    saved_s: float = 0.0


class Service:
    """The vendor's side. `world()` opens its state, moves it to `now`, and keeps the changes."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._world = World()
        if path is not None and not path.exists():
            path.write_bytes(pickle.dumps(self._world))

    @contextmanager
    def world(self) -> Iterator[World]:
        before = None
        if self._path is not None:
            before = self._path.read_bytes()
            self._world = pickle.loads(before)
        _live(self._world)
        yield self._world
        # Most calls only look, and to replace a file is to wait for the disk.
        if self._path is not None and (after := pickle.dumps(self._world)) != before:
            part = self._path.with_suffix(".part")
            part.write_bytes(after)
            part.replace(self._path)

    # The clock of the run's driver is the service's own.

    def now(self) -> datetime:
        with self.world() as world:
            return world.now

    def sleep(self, seconds: float) -> None:
        with self.world() as world:
            world.now += timedelta(seconds=max(seconds, 0.001))
        with self.world():
            pass  # let what became due happen

    def preempt(self) -> bool:
        """Take a running machine away, as spot markets do."""
        with self.world() as world:
            for machine in world.machines:
                if machine.ended_at is None:
                    machine.ended_at, machine.preempted = world.now, True
                    _save(world, machine)
                    return True
        return False

    def console_delete(self) -> bool:
        """Somebody deletes a machine by hand in the vendor's console."""
        with self.world() as world:
            for machine in world.machines:
                if machine.ended_at is None:
                    machine.ended_at = world.now
                    return True
        return False


def _live(world: World) -> None:
    """Let everything happen that is due by now: requests come in, jobs end, kill switches fire."""
    for due in [due for due in world.late if due[0] <= world.now]:
        world.late.remove(due)
        if due[1].token not in {machine.token for machine in world.machines}:
            world.machines.append(due[1])
    for machine in world.machines:
        if machine.ended_at is not None:
            continue
        done_at = machine.started_at + timedelta(seconds=machine.duration_s)
        kill_at = world.armed.get(machine.token)
        if machine.end is None:
            if machine.stop is not None:
                machine.end = {"why": machine.stop, "exit_code": None}
                _save(world, machine, whole=True)
                machine.duration_s = machine.boot_s + machine.worked_s(world.now)
            elif done_at <= world.now and (kill_at is None or done_at < kill_at):
                why = "finished" if machine.code == 0 else "failed"
                machine.end = {"why": why, "exit_code": machine.code}
                machine.packed_at = world.now + timedelta(seconds=world.packing_s)
        if kill_at is not None and kill_at <= world.now and not world.broken_kill:
            machine.ended_at = kill_at
            if machine.end is None:
                machine.end = {"why": "capped", "exit_code": None}


def _save(world: World, machine: SimMachine, *, whole: bool = False) -> None:
    """What of its work is kept; all of it where the job was ended in order."""
    every_s = world.saves_every_s
    if every_s is not None:
        worked_s = machine.worked_s(world.now)
        kept_s = worked_s if whole else worked_s // every_s * every_s
        world.saved_s = max(world.saved_s, machine.before_s + kept_s)


class SimCloud:
    """The client's side, as a launcher would be written."""

    def __init__(self, service: Service, name: str = "sim") -> None:
        self._service = service
        self.name = name
        self.of_account = "one"
        self.traits = Traits(
            kill_slack_s=5.0,
            visible_after_s=20.0,
            poll_s=2.0,
            layers=("the service's own timer",),
        )

    def regions_set_up(self) -> frozenset[str]:
        return frozenset({"us-east-1"})

    def how_to_set_up(self, region: str) -> str:
        return "A simulation has one region."

    def zones_for(
        self, region: str, instance_type: str, zone: str | None
    ) -> tuple[str | None, ...]:
        return (zone,)

    def arm_kill(self, intent: Intent) -> None:
        with self._call("arm_kill") as world:
            world.armed[intent.token] = intent.kill_at

    def disarm_kill(self, intent: Intent) -> None:
        with self._call("disarm_kill") as world:
            world.armed.pop(intent.token, None)

    def create(self, intent: Intent, payload: Payload) -> Machine:
        with self._call("create") as world:
            for machine in world.machines:
                if machine.token == intent.token:
                    return _shown(machine, world)
            if intent.token not in world.armed:
                raise Denied("no kill switch is armed for this token")
            machine = SimMachine(
                id=f"i-{len(world.machines) + 1}",
                token=intent.token,
                tags=dict(intent.tags),
                started_at=world.now,
                duration_s=world.boot_s + world.job_s - world.saved_s,
                place=f"{intent.zone} {intent.market}",
                before_s=world.saved_s,
                boot_s=world.boot_s,
                code=world.job_code,
                deletes_that_fail=world.failing_deletes,
                usd_per_hour=intent.price_per_hour_usd * intent.nodes,
                risen_usd_per_hour=intent.most_per_hour_usd * intent.nodes,
                rises_after_s=world.rises_after_s,
            )
            if world.late_creates:
                world.late_creates -= 1
                machine.started_at = world.now + timedelta(seconds=world.late_s)
                world.late.append((machine.started_at, machine))
                raise Unclear("create: the request did not come through in time")
            with refusals_make_nothing():
                if intent.instance_type in world.no_quota:
                    raise NoQuota(f"quota of {intent.instance_type} is 0")
                if intent.instance_type in world.unfit:
                    raise Unfit(f"{intent.instance_type} does not take this image")
                if {intent.instance_type, f"{intent.zone} {intent.market}"} & world.no_capacity:
                    raise NoCapacity(f"no {intent.instance_type} left in {intent.region}")
            world.machines.append(machine)
            return _shown(machine, world)

    def cancel(self, intent: Intent) -> None:
        """A vendor offers no such thing."""

    def account(self) -> str:
        return self.of_account

    def places(self, instance_type: str) -> int | None:
        return None

    def has_room(self, instance_type: str, places: int = 1) -> bool:
        return True

    def find(self, tags: Mapping[str, str]) -> Sequence[Machine]:
        with self._call("find") as world:
            return [
                _shown(m, world)
                for m in world.machines
                if tags.items() <= m.tags.items() and self._visible(world, m)
            ]

    def status(self, machine_id: str) -> Machine | None:
        with self._call("status") as world:
            for machine in world.machines:
                if machine.id == machine_id and self._visible(world, machine):
                    return _shown(machine, world)
        return None

    def terminate(self, machine_id: str) -> None:
        with self._call("terminate") as world:
            for machine in world.machines:
                if machine.id == machine_id and machine.ended_at is None:
                    if machine.deletes_that_fail > 0:
                        machine.deletes_that_fail -= 1  # accepted, and nothing comes of it
                    else:
                        machine.ended_at = world.now

    def spot_prices(self, region: str, instance_type: str) -> dict[str, Decimal]:
        return {}  # it has no zones

    def price_paid(self, intent: Intent, began: datetime, ended: datetime) -> Decimal | None:
        with self._call("price_paid") as world:
            machine = _by_token(world, intent.token)
            if machine is None or not world.tells_price:
                return None
            seconds = max(60.0, (ended - machine.started_at).total_seconds())
            average = _billed(machine, ended) / Decimal(str(seconds)) * 3600 / intent.nodes
            most = intent.most_per_hour_usd
            return min(average.quantize(Decimal("0.000001"), ROUND_UP), most)

    def console_log(self, machine_id: str) -> str:
        return f"{machine_id} booted"

    def report(self, intent: Intent) -> Report:
        with self._call("report") as world:
            machine = _by_token(world, intent.token)
            if machine is None:
                return Report()
            age = (world.now - machine.started_at).total_seconds()
            packed = machine.packed_at <= (machine.ended_at or world.now)
            status = {"phase": "running", "step": int(age), "steps": int(machine.duration_s)}
            if world.saves_every_s is not None:
                worked_s = machine.worked_s(world.now)
                status = {"phase": "running" if worked_s > 0 else "setup",
                          "figures": {"command_s": max(worked_s, 1e-3)}}  # fmt: skip
            return report_of(
                {
                    "status": status | {"elapsed_s": age},
                    "ended": machine.end,
                    "end": machine.end if packed else None,
                    "log_bytes": len(b"out\n"),
                }
            )

    def stop_job(self, intent: Intent, why: str) -> None:
        with self._call("stop_job") as world:
            machine = _by_token(world, intent.token)
            if machine is not None and machine.end is None:
                machine.stop = why

    def read_log(self, intent: Intent, offset: int, rank: int = 0) -> bytes:
        with self._call("read_log"):
            return b"out\n"[offset:]

    def fetch(self, intent: Intent, name: str, target: Path, rank: int = 0) -> bool:
        with self._call("fetch"):
            return False

    def discard(self, intent: Intent) -> None:
        with self._call("discard"):
            return

    @contextmanager
    def _call(self, name: str) -> Iterator[World]:
        with self._service.world() as world:
            world.calls[name] += 1
            lost = world.lost_before[name] > 0
            if lost:
                world.lost_before[name] -= 1
        if lost:
            raise Unclear(f"{name}: no route to the service")
        failure: Exception | None = None
        with self._service.world() as world:
            try:
                yield world
            except (NoCapacity, NoQuota, Denied, Unfit, Unclear) as error:
                failure = error
            answer_lost = failure is None and world.lost_after[name] > 0
            if answer_lost:
                world.lost_after[name] -= 1
        if failure is not None:
            raise failure
        if answer_lost:
            raise Unclear(f"{name}: the answer was lost")

    def _visible(self, world: World, machine: SimMachine) -> bool:
        return world.now >= machine.started_at + timedelta(seconds=world.hidden_s)


def _by_token(world: World, token: str) -> SimMachine | None:
    return next((m for m in world.machines if m.token == token), None)


def _shown(machine: SimMachine, world: World) -> Machine:
    state = MachineState.RUNNING if machine.ended_at is None else GONE
    told = None if world.forgetful else machine.ended_at
    return Machine(
        machine.id, state, machine.tags, machine.started_at, told, preempted=machine.preempted
    )


def opened(service: Service) -> Callable[[str], SimCloud]:
    """What a driver opens clouds with: every name is this service."""
    clouds: dict[str, SimCloud] = {}
    return lambda name: clouds.setdefault(name, SimCloud(service, name))


def billed_usd(service: Service, run_id: str | None = None) -> Decimal:
    """What the vendor's own meter says, of a run or of all; machines that still run up to now."""
    with service.world() as world:
        return sum(
            (
                _billed(m, m.ended_at or world.now)
                for m in world.machines
                if run_id in (None, m.tags[RUN_TAG])
            ),
            Decimal(0),
        )


def _billed(machine: SimMachine, until: datetime) -> Decimal:
    """The machine's own bill: by the second, a minute at least, at the price of each second."""
    seconds = max(60.0, (until - machine.started_at).total_seconds())
    before = min(seconds, machine.rises_after_s)
    usd = machine.usd_per_hour * Decimal(str(before))
    return (usd + machine.risen_usd_per_hour * Decimal(str(seconds - before))) / 3600


__all__ = ["EPOCH", "Service", "SimCloud", "World", "billed_usd", "opened"]
