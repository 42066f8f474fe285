"""Machines of Azure, and what its activity log tells of those gone, as the machines of attempts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from mlbroker.broker.clouds.azure.calls import Calls, translated
from mlbroker.broker.clouds.azure.kill import stamp
from mlbroker.broker.clouds.azure.names import NODES_TAG
from mlbroker.broker.clouds.interface import TOKEN_TAG, Machine, MachineState
from mlbroker.broker.clouds.rented import joint_state, machine_names, past_tags

# The activity log keeps 90 days (learn.microsoft.com/azure/azure-monitor/platform/activity-log).
LOG_DAYS = 89
_LOG_VERSION = "2015-04-01"
_MADE = "microsoft.compute/virtualmachines/write"
_EVICTED = "microsoft.compute/virtualmachines/evictspotvm/action"
_DELETED = "microsoft.compute/virtualmachines/delete"
_SINGLE_ENDS = frozenset({_DELETED, _EVICTED})
_GROUP_END = "microsoft.resources/subscriptions/resourcegroups/delete"
# It stands still, for good: nothing of ours is ever started again. Stopped, it bills on.
_STILL = frozenset({"PowerState/stopped", "PowerState/deallocated", "PowerState/deallocating"})


@dataclass(frozen=True, slots=True)
class Seen:
    """An attempt's machine, and whether it has to be dealt with."""

    machine: Machine
    stands_still: bool = False


def look(calls: Calls, group: str) -> Seen | None:
    """The attempt's machines now; gone, their end as the activity log tells it."""
    where = f"azure {group}"
    with translated(where):
        from azure.core.exceptions import ResourceNotFoundError

        try:
            found = calls.resources.resource_groups.get(group)
            tags = dict(found.tags or {})
            names = machine_names(group, int(tags.pop(NODES_TAG, "1")))
        except ResourceNotFoundError:
            names = ()
    machines = [vm for name in names if (vm := _machine(calls, group, name))]
    if not machines:
        past = gone(calls, group)
        return Seen(past) if past else None
    is_ending = found.properties.provisioning_state == "Deleting"
    is_broken = any(_stands_still(vm) for vm in machines)
    states = [_state(vm) for vm in machines]
    if is_ending or len(machines) < len(names):
        states.append(MachineState.TERMINATING)
    return Seen(joined(group, machines, states), is_broken and not is_ending)


def names_in(calls: Calls, group: str) -> tuple[str, ...]:
    """The names of the attempt's machines, by their group; none when that is gone."""
    from azure.core.exceptions import ResourceNotFoundError

    try:
        tags = calls.resources.resource_groups.get(group).tags or {}
    except ResourceNotFoundError:
        return ()
    return machine_names(group, int(tags.get(NODES_TAG, "1")))


def end_of(calls: Calls, group: str, name: str) -> str | None:
    """Why one of several machines is no more, None while it is or is still to come."""
    vm = _machine(calls, group, name)
    if vm is not None and _state(vm) is not MachineState.TERMINATING:
        return None
    ends = {event.what for event in _events(calls, group) if event.whose.endswith(f"/{name}")}
    if _EVICTED in ends:
        return "preempted"
    return "machine_failed" if vm is not None or ends & _SINGLE_ENDS else None


def listed(calls: Calls, tags: Mapping[str, str]) -> list[Machine]:
    """All attempts with these tags, in every region of the subscription."""
    groups: dict[str, list[Any]] = {}
    with translated("azure"):
        for vm in calls.compute.virtual_machines.list_all():
            known = vm.tags or {}
            if TOKEN_TAG in known and tags.items() <= known.items():
                groups.setdefault(known[TOKEN_TAG], []).append(vm)
    found = [joined(group, vms, [_state(vm) for vm in vms]) for group, vms in groups.items()]
    token = tags.get(TOKEN_TAG)
    if token and not found:
        past = gone(calls, token)
        if past and tags.items() <= past.tags.items():
            found.append(past)
    return found


def joined(group: str, machines: Sequence[Any], states: Sequence[MachineState]) -> Machine:
    """One or several machines as the one machine of an attempt."""
    starts = [vm.properties.time_created for vm in machines if vm.properties.time_created]
    zones = list(machines[0].zones or ())
    region = str(machines[0].location)
    return Machine(
        id=group,
        state=joint_state(states),
        tags=dict(machines[0].tags or {}),
        started_at=min((_moment(start) for start in starts), default=None),
        zone=f"{region}-{zones[0]}" if zones else region,
    )


def gone(calls: Calls, group: str) -> Machine | None:
    """What the activity log tells of machines that are not there (yet, or any more)."""
    events = _events(calls, group)
    made = [event.at for event in events if event.what == _MADE]
    ended = _end(events)
    if not made or ended is None:
        return None
    return Machine(
        id=group,
        state=MachineState.TERMINATED,
        tags=past_tags(group),
        started_at=min(made),
        ended_at=ended,
        preempted=any(event.what == _EVICTED for event in events),
    )


def _events(calls: Calls, group: str) -> list["_Event"]:
    """What was done in the group and came about, as the activity log tells it."""
    since = stamp(datetime.now(UTC) - timedelta(days=LOG_DAYS))
    answer = calls.ask_all(
        f"/subscriptions/{calls.subscription}/providers/Microsoft.Insights/eventtypes/"
        "management/values",
        _LOG_VERSION,
        "azure",
        **{"$filter": f"eventTimestamp ge '{since}' and resourceGroupName eq '{group}'"},
    )
    events = [_event(told) for told in answer]
    return [event for event in events if event.succeeded]


def enders(calls: Calls, group: str) -> set[str]:
    """Who had the attempt's machines or their group deleted, as the activity log names them."""
    return {e.caller for e in _events(calls, group) if e.what in (_GROUP_END, *_SINGLE_ENDS)}


class _Event(NamedTuple):
    what: str
    whose: str
    at: datetime
    succeeded: bool
    caller: str


def _event(told: Mapping[str, Any]) -> _Event:
    return _Event(
        str(told["operationName"]["value"]).lower(),
        str(told.get("resourceId", "")).lower(),
        _moment(told["eventTimestamp"]),
        told["status"]["value"] == "Succeeded",
        str(told.get("caller") or "").lower(),
    )


def _end(events: Sequence[_Event]) -> datetime | None:
    """When the last machine went: each by itself, before its group, or with the whole group.

    One that was evicted is there, and may bill, until it is deleted.
    """
    made = {event.whose for event in events if event.what == _MADE}
    newest_first = sorted(events, key=lambda event: event.at, reverse=True)
    single: dict[str, datetime] = {}
    for what in (_EVICTED, _DELETED):
        single |= {event.whose: event.at for event in newest_first if event.what == what}
    if made and made <= single.keys():
        return max(single[name] for name in made)
    return min((event.at for event in events if event.what == _GROUP_END), default=None)


def _machine(calls: Calls, group: str, name: str) -> Any:
    with translated(f"azure {group}"):
        from azure.core.exceptions import ResourceNotFoundError

        try:
            return calls.compute.virtual_machines.get(group, name, expand="instanceView")
        except ResourceNotFoundError:
            return None


def _state(vm: Any) -> MachineState:
    state = vm.properties.provisioning_state
    if state == "Creating":
        return MachineState.PENDING
    if state in ("Deleting", "Failed") or _power(vm) in _STILL:
        return MachineState.TERMINATING
    return MachineState.RUNNING


def _stands_still(vm: Any) -> bool:
    return vm.properties.provisioning_state == "Failed" or _power(vm) in _STILL


def _power(vm: Any) -> str | None:
    view = vm.properties.instance_view
    codes = [str(status.code) for status in (view.statuses or ())] if view else []
    return next((code for code in codes if code.startswith("PowerState/")), None)


def _moment(when: datetime | str) -> datetime:
    moment = datetime.fromisoformat(when) if isinstance(when, str) else when
    return moment.astimezone(UTC)
