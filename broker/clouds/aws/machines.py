"""What EC2 says of instances, as the one machine of an attempt."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mlbroker.broker.clouds.guest_report import End
from mlbroker.broker.clouds.interface import TOKEN_TAG, Machine, MachineState
from mlbroker.broker.clouds.rented import Member, joint_machine, lost

_STATES = {
    "pending": MachineState.PENDING,
    "running": MachineState.RUNNING,
    "stopping": MachineState.TERMINATING,
    "stopped": MachineState.TERMINATING,
    "shutting-down": MachineState.TERMINATING,
    "terminated": MachineState.TERMINATED,
}
_ENDED_AT = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)")
RECLAIMED = "Server.SpotInstanceTermination"


def machine_of(region: str, instances: Sequence[Mapping[str, Any]]) -> Machine:
    """One or several instances as the one machine of an attempt."""
    ranked = sorted(instances, key=lambda i: (i.get("AmiLaunchIndex", 0), i["InstanceId"]))
    zone = ranked[0].get("Placement", {}).get("AvailabilityZone")
    return joint_machine(region, [_member(instance) for instance in ranked], zone)


def _member(instance: Mapping[str, Any]) -> Member:
    return Member(
        str(instance["InstanceId"]),
        _STATES[instance["State"]["Name"]],
        {key: value for key, value in tags_of(instance).items() if key != "Name"},
        instance["LaunchTime"].astimezone(UTC),
        _ended_at(instance),
        _is_reclaimed(instance),
    )


def _is_reclaimed(instance: Mapping[str, Any]) -> bool:
    return bool(instance.get("StateReason", {}).get("Code") == RECLAIMED)


def _ended_at(instance: Mapping[str, Any]) -> datetime | None:
    found = _ENDED_AT.search(instance.get("StateTransitionReason") or "")
    return datetime.fromisoformat(found.group(1)).replace(tzinfo=UTC) if found else None


def tags_of(instance: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}


def attempts_of(region: str, instances: Sequence[Mapping[str, Any]]) -> list[Machine]:
    """Instances by the attempt they belong to."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for instance in instances:
        token = tags_of(instance).get(TOKEN_TAG, str(instance["InstanceId"]))
        groups.setdefault(token, []).append(instance)
    return [machine_of(region, members) for members in groups.values()]


def lost_member(instances: Sequence[Mapping[str, Any]], unfinished: set[int]) -> End | None:
    """The end of a run of several machines one of which ended without a word."""
    for instance in instances:
        if instance["AmiLaunchIndex"] in unfinished and _STATES[instance["State"]["Name"]] in (
            MachineState.TERMINATING,
            MachineState.TERMINATED,
        ):
            why = "preempted" if _is_reclaimed(instance) else "machine_failed"
            return lost(instance["InstanceId"], instance["AmiLaunchIndex"], why)
    return None
