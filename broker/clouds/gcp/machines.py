"""Instances and operations of Compute Engine, read as the machines of attempts."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mlbroker.broker.clouds.gcp.calls import Calls, failed, translated
from mlbroker.broker.clouds.interface import (
    RUN_TAG,
    Machine,
    MachineState,
    Unclear,
    refusals_make_nothing,
)
from mlbroker.broker.clouds.rented import Member, joint_machine, past_tags
from mlbroker.broker.guest.vendor import rank_in

# Google answers each wait after two minutes at most; machines take half a minute to come.
WAITS = 3
WAIT_TIMEOUT_S = 150.0
# Google took it away: for another, with its host, or for its host's maintenance
# (cloud.google.com/compute/docs/logging/audit-logging, system events).
_TAKEN = frozenset(
    f"compute.instances.{what}" for what in ("preempted", "hostError", "terminateOnHostMaintenance")
)
_BEGINNINGS = frozenset({"insert", "bulkInsert", "start"})
_STATES = {
    "PENDING": MachineState.PENDING,
    "PROVISIONING": MachineState.PENDING,
    "STAGING": MachineState.PENDING,
    "RUNNING": MachineState.RUNNING,
    "REPAIRING": MachineState.RUNNING,
}
# It stands still, for good: nothing of ours is ever started again. Its disk goes on billing.
_STILL = frozenset({"TERMINATED", "STOPPED", "SUSPENDED"})


def finished(calls: Calls, zone: str, operation: Any) -> None:
    """Wait for an operation, and raise what became of it; a failed one `made_nothing`.

    With a client of our own: the library's own waiting asks Google's public address, wherever
    the operation was begun.
    """
    where = f"gcp {zone}"
    client = calls.client("ZoneOperations")
    for _ in range(WAITS):
        if operation.status == operation.Status.DONE:
            break
        with translated(where):
            operation = client.wait(
                project=calls.project,
                zone=zone,
                operation=operation.name,
                timeout=WAIT_TIMEOUT_S,
                retry=calls.reading["retry"],
            )
    else:
        if operation.status != operation.Status.DONE:
            raise Unclear(f"operation {operation.name} does not come to an end", where=where)
    if operation.error.errors:
        with refusals_make_nothing():
            raise failed(operation.error, where)


def look(calls: Calls, zone: str, name: str) -> Member | None:
    """The instance now; gone, its end as the zone's operations tell it."""
    with translated(f"gcp {zone}"):
        from google.api_core.exceptions import NotFound

        try:
            found = calls.client("Instances").get(
                project=calls.project, zone=zone, instance=name, **calls.reading
            )
        except NotFound:
            return _past(calls, zone, name)
    return seen(found)


def listed(calls: Calls, tags: Mapping[str, str]) -> list[tuple[str, Member]]:
    """All instances with these labels, in every zone, with their zones.

    A zone that does not answer makes the whole answer unclear: in it a machine may stand.
    """
    terms = [f'labels.{key} = "{value}"' for key, value in tags.items()]
    request = {
        "project": calls.project,
        "filter": " AND ".join(f"({term})" for term in terms or [f"labels.{RUN_TAG}:*"]),
    }
    found: list[tuple[str, Member]] = []
    with translated("gcp"):
        pages = calls.client("Instances").aggregated_list(request=request, **calls.reading)
        for scope, part in pages:
            zone = scope.rpartition("/")[2]
            if part.warning.code == "UNREACHABLE":
                raise Unclear(f"zone {zone} does not answer", where="gcp")
            found += [(zone, seen(instance)) for instance in part.instances]
    return found


def unending(calls: Calls, region: str, long_ago: datetime) -> tuple[int, list[str], list[str]]:
    """Machines alive in a region: how many, those without an end, those past it."""
    bare, late, alive = [], [], 0
    request = {"project": calls.project, "filter": f"labels.{RUN_TAG}:*"}
    with translated("gcp"):
        for scope, part in calls.client("Instances").aggregated_list(
            request=request, **calls.reading
        ):
            if scope.rpartition("/")[2].rpartition("-")[0] != region:
                continue
            for instance in part.instances:
                alive += 1
                end = _moment(instance.scheduling.termination_time)
                if end is None or instance.scheduling.instance_termination_action != "DELETE":
                    bare.append(str(instance.name))
                elif end < long_ago:
                    late.append(str(instance.name))
    return alive, bare, late


def seen(instance: Any) -> Member:
    """One instance as Google shows it."""
    status = str(instance.status)
    return Member(
        str(instance.name),
        _STATES.get(status, MachineState.TERMINATING),
        dict(instance.labels),
        _moment(instance.creation_timestamp),
        stands_still=status in _STILL,
    )


def joined(zone: str, members: Sequence[Member]) -> Machine:
    """One or several instances as the one machine of an attempt."""
    ordered = sorted(members, key=lambda member: (rank_in(member.name) or 0, member.name))
    return joint_machine(zone, ordered, zone)


def past(calls: Calls, token: str) -> list[tuple[str, Member]]:
    """Machines of this token that are gone, with their zones, while Google keeps operations."""
    request = {
        "project": calls.project,
        "filter": f'targetLink eq ".*/instances/{re.escape(token)}(-n[0-9]+)?"',
    }
    # Those on one machine may stand on several pages.
    on_machine: dict[tuple[str, str], list[Any]] = {}
    with translated("gcp"):
        pages = calls.client("GlobalOperations").aggregated_list(request=request, **calls.reading)
        for scope, part in pages:
            for operation in part.operations:
                name = str(operation.target_link).rpartition("/")[2]
                on_machine.setdefault((scope.rpartition("/")[2], name), []).append(operation)
    told = ((zone, _told(name, found)) for (zone, name), found in on_machine.items())
    return [(zone, member) for zone, member in told if member is not None]


def first_end(calls: Calls, zone: str, name: str) -> Any:
    """The operation that ended an instance, which is gone; None while none tells."""
    with translated(f"gcp {zone}"):
        ends = filter(_is_end, _operations(calls, zone, name))
        return min(ends, key=lambda end: _moment(end.insert_time) or datetime.max, default=None)


def _past(calls: Calls, zone: str, name: str) -> Member | None:
    """What the zone's operations tell of an instance that is not there (yet, or any more)."""
    return _told(name, _operations(calls, zone, name))


def _operations(calls: Calls, zone: str, name: str) -> Iterable[Any]:
    request = {
        "project": calls.project,
        "zone": zone,
        "filter": f'targetLink eq ".*/instances/{re.escape(name)}"',
    }
    found: Iterable[Any] = calls.client("ZoneOperations").list(request=request, **calls.reading)
    return found


def _is_end(operation: Any) -> bool:
    began = str(operation.operation_type) in _BEGINNINGS
    return not began and operation.status == operation.Status.DONE and not operation.error.errors


def _told(name: str, operations: Iterable[Any]) -> Member | None:
    """An instance's end, by the operations on it; None when none of them ended it."""
    began: datetime | None = None
    ended: datetime | None = None
    preempted = False
    for operation in operations:
        kind = str(operation.operation_type)
        if kind in _BEGINNINGS:
            began = _moment(operation.insert_time)
            continue
        if _is_end(operation):
            end = _moment(operation.end_time)
            ended = max(ended, end) if ended and end else end
            preempted = preempted or kind in _TAKEN
    if ended is None:
        return None
    labels = past_tags(re.sub(r"-n\d+$", "", name))
    return Member(name, MachineState.TERMINATED, labels, began, ended, preempted)


def _moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
