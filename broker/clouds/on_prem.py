"""Machines that are there already: a run is a box, a folder that the guest program works in.

This is what the user's own machines share, however they are reached; a `Host` reaches one.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from mlbroker.broker.clouds.arriving import Arriving, arriving
from mlbroker.broker.clouds.guest_report import BoxSeen, Report, box_of, boxes_of
from mlbroker.broker.clouds.interface import (
    TOKEN_TAG,
    Denied,
    Intent,
    Machine,
    MachineState,
    NoCapacity,
    Payload,
    Traits,
    Unclear,
)
from mlbroker.broker.files.nodes import ON_PREM
from mlbroker.broker.guest import box as files

_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,199}")


class Host(Protocol):
    """One machine, asked through the guest program. Boxes are named by their token."""

    def ask(self, action: str, token: str, *rest: str) -> Mapping[str, object]: ...

    def start(
        self, token: str, spec: Mapping[str, Any], secrets: Mapping[str, str]
    ) -> Mapping[str, object]: ...

    def put(self, token: str, name: str, source: Path) -> None: ...

    def read(self, token: str, name: str, offset: int) -> bytes: ...

    def get(self, token: str, name: str, into: Arriving) -> None: ...

    def listing(self) -> Mapping[str, object]: ...

    def places(self) -> int | None: ...

    def room(self, places: int) -> bool: ...

    def extras(self, intent: Intent) -> Mapping[str, Any]: ...


class BoxCloud(ABC):
    """A cloud of such machines. Machine ids say which host and which box."""

    traits: Traits

    @abstractmethod
    def host(self, name: str) -> Host:
        """The machine of this name."""

    @abstractmethod
    def host_of(self, name: str, token: str) -> Host:
        """The machine that this attempt is on, which was called so when it was made."""

    @abstractmethod
    def hosts(self, token: str | None) -> Sequence[tuple[str, Host]]:
        """All machines that may hold boxes of ours, by name; those that may hold this attempt's."""

    def regions_set_up(self) -> frozenset[str]:
        """Own machines stand in one."""
        return frozenset({ON_PREM})

    def how_to_set_up(self, region: str) -> str:
        """In words."""
        return "Own machines need nothing but a node in the nodes file."

    def zones_for(
        self, region: str, instance_type: str, zone: str | None
    ) -> tuple[str | None, ...]:
        """Own machines have none."""
        return (zone,)

    def arm_kill(self, intent: Intent) -> None:
        """Nothing to do ahead: the watchdog sets its timer before it starts anything."""
        return

    def disarm_kill(self, intent: Intent) -> None:
        """Nothing outlives the watchdog."""
        return

    def create(self, intent: Intent, payload: Payload) -> Machine:
        """Fill the box and start its watchdog; a box that was started is left as it is."""
        host, token = self._host(intent), checked(intent.token)
        for source, name in ((payload.bundle, files.BUNDLE), (payload.restore, files.RESTORE)):
            if source is not None and source.exists():
                host.put(token, name, source)
        now = datetime.now(UTC)
        spec = {
            **payload.spec,
            **host.extras(intent),
            "token": token,
            "tags": dict(intent.tags),
            "started_at": now.isoformat(),
            "lifetime_s": (intent.kill_at - now).total_seconds(),
        }
        answer = host.start(token, spec, payload.secrets).get("started")
        if answer == "busy":
            raise NoCapacity(f"all places on {intent.instance_type} are taken")
        machine = self.status(id_of(intent.instance_type, token))
        if machine is None:
            raise Denied(f"the box {token} was cancelled before it started")
        return machine

    def cancel(self, intent: Intent) -> None:
        """Mark the box, so that a start still on its way comes to nothing."""
        self._host(intent).ask("prevent", checked(intent.token))

    def account(self) -> str:
        """They are the user's."""
        return ""

    def places(self, instance_type: str) -> int | None:
        """As the nodes file says; this machine without a node takes any number."""
        return self.host(instance_type).places()

    def has_room(self, instance_type: str, places: int = 1) -> bool:
        """Whether so many places are free now."""
        return self.host(instance_type).room(places)

    def find(self, tags: Mapping[str, str]) -> Sequence[Machine]:
        """The boxes whose tags hold all of these."""
        found: list[Machine] = []
        for name, host in self.hosts(tags.get(TOKEN_TAG)):
            boxes = boxes_of(host.listing())
            if boxes is None:
                raise Unclear("it does not list its boxes", where=f"node {name}")
            for token, seen in boxes.items():
                machine = machine_of(id_of(name, token), seen)
                if machine is None:
                    continue
                # One that is only being laid out has no tags yet. Its client may be dead: whether
                # it comes to something is to be waited for.
                starts = machine.state is MachineState.RUNNING and not machine.tags
                if starts and token == tags.get(TOKEN_TAG):
                    raise Unclear(f"the box {token} is being laid out", where=f"node {name}")
                if machine.tags and tags.items() <= machine.tags.items():
                    found.append(machine)
        return found

    def status(self, machine_id: str) -> Machine | None:
        """Read off the locks and the processes, not off what anybody wrote down."""
        name, token = parts_of(machine_id)
        return machine_of(machine_id, self._box(name, token))

    def _host(self, intent: Intent) -> Host:
        return self.host_of(intent.instance_type, intent.token)

    def _box(self, name: str, token: str) -> BoxSeen:
        seen = box_of(self.host_of(name, token).ask("show", token))
        if seen is None:
            raise Unclear("no answer that can be understood", where=f"node {name}")
        return seen

    def terminate(self, machine_id: str) -> None:
        """Ask the supervisor; where none is left, end the remaining processes."""
        name, token = parts_of(machine_id)
        self.host_of(name, token).ask("end", token)

    def console_log(self, machine_id: str) -> str:
        """What watchdog and supervisor had to say about themselves."""
        name, token = parts_of(machine_id)
        return self.host_of(name, token).read(token, "guest.log", 0).decode("utf-8", "replace")

    def report(self, intent: Intent) -> Report:
        """The files the supervisor writes."""
        return self._box(intent.instance_type, checked(intent.token)).report

    def stop_job(self, intent: Intent, why: str) -> None:
        """Leave the request where the supervisor looks for it."""
        self._host(intent).ask("stop", checked(intent.token), why)

    def read_log(self, intent: Intent, offset: int, rank: int = 0) -> bytes:
        """From the log file itself."""
        return self._host(intent).read(checked(intent.token), files.LOG, offset)

    def fetch(self, intent: Intent, name: str, target: Path, rank: int = 0) -> bool:
        """Copied whole, or not at all."""
        host, token = self._host(intent), checked(intent.token)
        if name == files.CHECKPOINT and not self.report(intent).checkpoint_bytes:
            return False
        with arriving(target) as file:
            host.get(token, name, file)
        return file.written > 0

    def discard(self, intent: Intent) -> None:
        """Remove the box's bulk; its identity stays, so that the token is never used again."""
        self._host(intent).ask("discard", checked(intent.token))


def checked(token: str) -> str:
    """A token that is safe as a name; Denied where it is not."""
    if _TOKEN.fullmatch(token) is None or ".." in token:
        raise Denied(f"not a token: {token!r}")
    return token


def id_of(host: str, token: str) -> str:
    """A machine's, of the host it is on and the attempt that it is of."""
    return f"{host}/{token}"


def parts_of(machine_id: str) -> tuple[str, str]:
    """The two of them again."""
    host, _, token = machine_id.partition("/")
    return host, checked(token)


def machine_of(machine_id: str, seen: BoxSeen) -> Machine | None:
    """By what lives on the machine; the times are the box's own, no later than now."""
    if seen.state == "none":
        return None
    now = datetime.now(UTC)
    began = None if seen.started_at is None else min(seen.started_at, now)
    if seen.state == "alive":
        return Machine(machine_id, MachineState.RUNNING, seen.tags, began)
    elapsed_s = seen.report.end.elapsed_s if seen.report.end else None
    ended = None
    if began is not None and elapsed_s is not None:
        ended = min(began + timedelta(seconds=elapsed_s), now)
    return Machine(machine_id, MachineState.TERMINATED, seen.tags, began, ended)
