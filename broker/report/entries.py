"""Every run as one line of a report, folded from the few facts that a report needs.

A ledger of a hundred thousand runs has a million facts: what a report does not show is not read.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from mlbroker.broker.ledger import Fact, Share, State
from mlbroker.broker.ledger.facts import senseless
from mlbroker.broker.ledger.state import BASELINE, COUNTS_AT, OPENINGS, PREDICTION, PURPOSE, RENTED
from mlbroker.broker.queue.terms import QUEUE, place_told
from mlbroker.pricing.vendors import vendor

# What a report reads of the ledger.
KINDS = (*OPENINGS, State.INTENDED, State.ABSENT, State.TERMINATED, State.SETTLED)
SUCCEEDED = "succeeded"
# Uses of a machine's time, as `footprint` has them; the last is what nobody knows.
USES = ("useful", "setup", "unused", "lost", "unknown")


class Told(NamedTuple):
    """What was predicted, as percentiles 10, 50 and 90: hours, and USD where all three are known.

    `command_s` is the median of the command alone, `chance` that of its deadline.
    """

    hours: tuple[float, float, float]
    usd: tuple[Decimal, Decimal, Decimal] | None
    expected_usd: Decimal
    p90_usd: Decimal
    command_s: float | None
    chance: float | None
    basis: str


class Elsewhere(NamedTuple):
    """What the same was expected to come to on another machine."""

    usd: Decimal
    hours: float
    energy_kwh: float | None
    carbon_kgco2e: float | None


class Wait(NamedTuple):
    """In a queue; `until` is None while it waits."""

    since: datetime
    until: datetime | None = None


@dataclass(slots=True)
class Entry:
    """One run. Money is in USD, time in hours of the run's machines together.

    `at` is the moment whose day and month it counts in. `place` is that of its last machine.
    `told` is what was predicted, `baseline` and `rented` what it was compared with: the machine
    that people usually take, and the best one for rent. `uses_h` and `uses_usd` tell by use where
    hours and money went. `energy_kwh` and `carbon_kgco2e` are sums over its machines, None where
    one of them is unknown. `waits` are its times in a queue for one of `queues_at`, by cloud and
    machine, an hour of which costs `value_usd_per_h`; `stays` those on own machines, of which it
    took `gang` places. `whole` is the pipeline, study or workflow that it is a part of, in words.
    """

    run_id: str
    job: str
    user: str
    project: str | None
    at: datetime
    reserved_at: datetime
    cap_usd: Decimal
    held_usd: Decimal
    purpose: str | None
    deadline_at: datetime | None
    told: Told | None
    baseline: Elsewhere | None
    rented: Elsewhere | None
    cloud: str = ""
    region: str = ""
    instance_type: str = ""
    market: str = ""
    kill_at: datetime | None = None
    attempts: int = 0
    spent_usd: Decimal = Decimal(0)
    began_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: str | None = None
    uses_h: dict[str, float] = field(default_factory=dict)
    uses_usd: dict[str, Decimal] = field(default_factory=dict)
    machine_h: float = 0.0
    command_s: float | None = 0.0
    energy_kwh: float | None = 0.0
    carbon_kgco2e: float | None = 0.0
    waits: tuple[Wait, ...] = ()
    queues_at: frozenset[tuple[str, str]] = frozenset()
    value_usd_per_h: float = 0.0
    stays: tuple[tuple[datetime, datetime], ...] = ()
    gang: int = 1
    whole: str | None = None
    _nodes: int = 1

    @property
    def open(self) -> bool:
        """Whether it may still come to cost something."""
        return self.outcome is None

    @property
    def succeeded(self) -> bool:
        """Whether its job ended well."""
        return self.outcome == SUCCEEDED

    @property
    def hours(self) -> float | None:
        """From its first machine's start to its last one's end."""
        if self.began_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.began_at).total_seconds() / 3600

    @property
    def in_time(self) -> bool | None:
        """Whether it succeeded before its deadline; None of one that has none, or is open."""
        if self.deadline_at is None or self.open or self.outcome == "stopped":
            return None
        return self.succeeded and self.ended_at is not None and self.ended_at <= self.deadline_at

    @property
    def pace(self) -> float:
        """How long its command took over what was expected of it, 1 where nobody knows.

        What takes longer than it was thought to had taken longer elsewhere as well.
        """
        expected_s = self.told.command_s if self.told is not None else None
        if not self.succeeded or not expected_s or not self.command_s:
            return 1.0
        return self.command_s / expected_s


def entries(facts: Iterable[Fact]) -> list[Entry]:
    """From facts of these KINDS in their order, whole runs; in the order of their openings.

    LedgerError where one of them was damaged.
    """
    found: dict[str, Entry] = {}
    for fact in facts:
        try:
            if fact.kind in OPENINGS and fact.run_id not in found:
                found[fact.run_id] = _opened(fact)
            elif fact.run_id in found:
                _STEPS[State(fact.kind)](found[fact.run_id], fact)
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise senseless(fact.seq, error) from error
    return list(found.values())


def _opened(fact: Fact) -> Entry:
    body = fact.body
    counts_at, deadline_at = body.get(COUNTS_AT), body.get("deadline_at")
    first = body.get("candidate") or {}
    queue = body.get(QUEUE) or {}
    entry = Entry(
        run_id=fact.run_id,
        job=sys.intern(body["job"]),
        user=sys.intern(body["user"]),
        project=body.get("project"),
        at=datetime.fromisoformat(counts_at) if counts_at else fact.at,
        reserved_at=fact.at,
        cap_usd=Decimal(body["cap_usd"]),
        held_usd=Decimal(0 if fact.kind == State.QUEUED else body["reserved_usd"]),
        purpose=body.get(PURPOSE),
        deadline_at=datetime.fromisoformat(deadline_at) if deadline_at else None,
        told=_told(body.get(PREDICTION)),
        baseline=_elsewhere(body.get(BASELINE)),
        rented=_elsewhere(body.get(RENTED)),
        cloud=sys.intern(first.get("cloud", "")),
        region=sys.intern(first.get("region", "")),
        instance_type=sys.intern(first.get("instance_type", "")),
        market=sys.intern(first.get("market", "")),
    )
    share = Share.of(body)
    if share is not None:
        entry.whole = sys.intern(f"{share.kind} {share.name}")
    if queue:
        told = (place_told(name) for name in queue["places"])
        entry.queues_at = frozenset((cloud, machine) for cloud, machine, _ in told)
        entry.value_usd_per_h = float(queue["value_usd_per_h"])
        entry.gang = queue.get("gang", 1)
    if fact.kind == State.QUEUED:
        entry.waits = (Wait(fact.at),)
    return entry


def _told(body: Mapping[str, Any] | None) -> Told | None:
    if body is None:
        return None
    cost, command_s = body["cost_usd"], body.get("command_s")
    p10, p50, p90 = (cost.get(name) for name in ("p10", "p50", "p90"))
    known = p10 is not None and p50 is not None
    return Told(
        hours=tuple(body["duration_h"]),
        usd=(Decimal(p10), Decimal(p50), Decimal(p90)) if known else None,
        expected_usd=Decimal(cost["expected"]),
        p90_usd=Decimal(p90),
        command_s=command_s[1] if command_s else None,
        chance=body.get("deadline_probability"),
        basis=sys.intern(body["basis"]),
    )


def _elsewhere(body: Mapping[str, Any] | None) -> Elsewhere | None:
    if body is None:
        return None
    energy, carbon = body.get("energy_kwh"), body.get("carbon_kgco2e")
    return Elsewhere(Decimal(body["cost_usd"]), body["duration_h"], energy, carbon)


def _queued(entry: Entry, fact: Fact) -> None:
    entry.held_usd = Decimal(0)
    entry.waits += (Wait(fact.at),)


def _waited(entry: Entry, fact: Fact) -> None:
    if entry.waits and entry.waits[-1].until is None:
        entry.waits = (*entry.waits[:-1], entry.waits[-1]._replace(until=fact.at))


def _started(entry: Entry, fact: Fact) -> None:
    entry.held_usd = Decimal(fact.body["reserved_usd"])
    _waited(entry, fact)
    if not entry.attempts:
        entry.at = datetime.fromisoformat(fact.body[COUNTS_AT])


def _intended(entry: Entry, fact: Fact) -> None:
    body = fact.body
    # Few names stand for all runs.
    for name in ("cloud", "region", "instance_type", "market"):
        setattr(entry, name, sys.intern(body[name]))
    entry.kill_at = datetime.fromisoformat(body["kill_at"])
    entry.attempts += 1
    entry._nodes = body["nodes"]


def _confirmed(entry: Entry, fact: Fact) -> None:
    if "kill_at" in fact.body:
        # Its life began later than it was meant to: its place started it when it liked.
        entry.kill_at = datetime.fromisoformat(fact.body["kill_at"])


def _absent(entry: Entry, fact: Fact) -> None:
    usd = Decimal(fact.body.get("charged_usd", 0))
    if usd:
        # A machine that its vendor may have forgotten: nobody knows what it did.
        entry.spent_usd += usd
        entry.uses_usd["unknown"] = entry.uses_usd.get("unknown", Decimal(0)) + usd
        entry.energy_kwh = entry.carbon_kgco2e = entry.command_s = None
    entry.kill_at = None


def _terminated(entry: Entry, fact: Fact) -> None:
    body = fact.body
    usd = Decimal(body["charged_usd"])
    entry.spent_usd += usd
    entry.kill_at = None
    entry.ended_at = datetime.fromisoformat(body["ended_at"])
    seconds, energy = body.get("seconds") or {}, body.get("energy") or {}
    stood_s = seconds.get("stood")
    if stood_s is not None and entry.began_at is None:
        entry.began_at = datetime.fromtimestamp(
            entry.ended_at.timestamp() - stood_s, entry.ended_at.tzinfo
        )
    if stood_s is not None and vendor(entry.cloud).own:
        stay = entry.ended_at - timedelta(seconds=stood_s), entry.ended_at
        entry.stays = (*entry.stays, stay)
    entry.machine_h += (stood_s or 0.0) * entry._nodes / 3600
    known = stood_s and seconds.get("useful") is not None
    shares = {use: seconds[use] / stood_s for use in USES[:-1]} if known else {"unknown": 1.0}
    left = usd
    for use, share in shares.items():
        hours = (stood_s or 0.0) * entry._nodes / 3600 * share
        entry.uses_h[use] = entry.uses_h.get(use, 0.0) + hours
        part = min(left, round(usd * Decimal(share), 9))
        left -= part
        entry.uses_usd[use] = entry.uses_usd.get(use, Decimal(0)) + part
    # What rounding left belongs to what there is anyway.
    entry.uses_usd[next(iter(shares))] += left
    worked_s = seconds["useful"] + seconds["unused"] if known else None
    entry.command_s = _sum(entry.command_s, worked_s)
    entry.energy_kwh = _sum(entry.energy_kwh, energy.get("kwh"))
    entry.carbon_kgco2e = _sum(entry.carbon_kgco2e, energy.get("kgco2e"))


def _settled(entry: Entry, fact: Fact) -> None:
    entry.outcome = fact.body["outcome"]
    _waited(entry, fact)
    entry.held_usd = Decimal(0)


def _sum(before: float | None, more: float | None) -> float | None:
    return None if before is None or more is None else before + more


_STEPS = {
    State.QUEUED: _queued,
    State.RESERVED: _started,
    State.INTENDED: _intended,
    State.CONFIRMED: _confirmed,
    State.ABSENT: _absent,
    State.TERMINATED: _terminated,
    State.SETTLED: _settled,
}
