"""Google Cloud: an instance of Compute Engine for each attempt, capped by Google itself.

The kill switch outside is part of the very request that makes the machine: an absolute time at
which Compute Engine deletes it with its disk. The one inside is the first line of its script.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlbroker.broker.clouds.gcp import vault
from mlbroker.broker.clouds.gcp.calls import TIMEOUT_S, Calls, translated
from mlbroker.broker.clouds.gcp.machines import finished, joined, listed, look, past
from mlbroker.broker.clouds.gcp.names import (
    Names,
    instance_names,
    request_id,
)
from mlbroker.broker.clouds.gcp.network import (
    how_to_set_up,
    regions_set_up,
    spot_in,
    zones_offering,
)
from mlbroker.broker.clouds.gcp.request import bulk_body, insert_body
from mlbroker.broker.clouds.gcp.shape import shape_of
from mlbroker.broker.clouds.guest_report import End
from mlbroker.broker.clouds.interface import (
    TOKEN_TAG,
    Cloud,
    Intent,
    Machine,
    MachineState,
    Payload,
    Unclear,
    refusals_make_nothing,
)
from mlbroker.broker.clouds.rented import (
    Member,
    id_parts,
    joined_consoles,
    lost,
    refuse_fast_clock,
    rented_traits,
)
from mlbroker.broker.clouds.seats import Seat, SeatedCloud
from mlbroker.broker.clouds.user_data import start_script
from mlbroker.broker.errors import CloudError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

# Google begins up to 30 s late, and gives the system up to 90 s to shut down
# (cloud.google.com/compute/docs/instances/limit-vm-runtime, 2026-11).
KILL_SLACK_S = 180.0
# Operations that are done are kept for an hour at least, two weeks at most
# (cloud.google.com/compute/docs/instances/viewing-compute-operations, 2026-11).
REMEMBERS_S = 3600.0
# The vendor's own timer goes first: a machine that shut itself down is out of that one's reach.
LATER_S = 60
_SCRIPT_BYTES = 262144


class GcpCloud(SeatedCloud):
    """A machine's id is `ZONE/NAME`, or `ZONE/NAME+NAME` for a run of several machines."""

    traits = rented_traits(
        KILL_SLACK_S,
        REMEMBERS_S,
        outside="Compute Engine's own termination time, set in the call that makes the machine",
        inside="a timer on the machine, which deletes it",
    )

    def __init__(self, calls: Calls | None = None) -> None:
        self._calls = calls or Calls()
        self._zones: dict[str, tuple[str, ...]] = {}

    def account(self) -> str:
        """The project."""
        return self._calls.project

    def arm_kill(self, intent: Intent) -> None:
        """Nothing to set: the time of its end is part of the machine from its beginning."""
        refuse_fast_clock(intent, self._calls.clock(), "gcp")

    def disarm_kill(self, intent: Intent) -> None:
        """Nothing to do: it went with the machine."""

    def create(self, intent: Intent, payload: Payload) -> Machine:
        """Lay the job into the bucket and its secrets beside it, then ask for the machine."""
        with refusals_make_nothing():
            zone = intent.zone or self.first_zone(intent)
            body = self._prepared(intent, payload, zone)
        unclear = self._insert(intent, zone, body)
        members = []
        for name in instance_names(intent):
            member = look(self._calls, zone, name)
            if member is None and unclear:
                raise unclear
            # Made, and perhaps not to be seen yet.
            member = member or Member(name, MachineState.PENDING, intent.tags, None)
            members.append(self._dealt_with(zone, member))
        return joined(zone, members)

    def _prepared(self, intent: Intent, payload: Payload, zone: str) -> dict[str, object]:
        calls, names = self._calls, self._names(intent.region)
        shape = shape_of(calls, zone, intent)
        spot = spot_in(calls, names)
        seat = self.take_seat(intent)
        # Google runs it at every boot.
        script = start_script(
            intent, names.bucket, _SCRIPT_BYTES, deletes=True, later_s=LATER_S, folder=seat.folder
        )
        if intent.nodes == 1:
            body = insert_body(intent, names, seat.number, zone, shape, spot, script)
        else:
            body = bulk_body(intent, names, seat.number, shape, spot, script)
        self.send(intent, payload)
        return body

    def zones_offering(self, region: str, instance_type: str) -> Sequence[str]:
        """Google names those of all regions at once."""
        if instance_type not in self._zones:
            self._zones[instance_type] = zones_offering(self._calls, instance_type)
        return [zone for zone in self._zones[instance_type] if zone.rpartition("-")[0] == region]

    def regions_found(self) -> frozenset[str]:
        """Told by the buckets."""
        return regions_set_up(self._calls)

    def how_to_set_up(self, region: str) -> str:
        """In words."""
        return how_to_set_up(region)

    def find(self, tags: Mapping[str, str]) -> Sequence[Machine]:
        """All attempts with these tags, in every zone of the project; of one token, past ones."""
        members = listed(self._calls, tags)
        if not members and TOKEN_TAG in tags:
            members = [
                (zone, member)
                for zone, member in past(self._calls, tags[TOKEN_TAG])
                if tags.items() <= member.tags.items()
            ]
        groups: dict[tuple[str, str], list[Member]] = {}
        for zone, member in members:
            token = member.tags.get(TOKEN_TAG, member.name)
            groups.setdefault((zone, token), []).append(self._dealt_with(zone, member))
        return [joined(zone, members) for (zone, _), members in groups.items()]

    def status(self, machine_id: str) -> Machine | None:
        """What Compute Engine says now, or what its operations tell of the end."""
        zone, names = id_parts(machine_id)
        members = [look(self._calls, zone, name) for name in names]
        known = [self._dealt_with(zone, member) for member in members if member]
        return joined(zone, known) if len(known) == len(names) else None

    def terminate(self, machine_id: str) -> None:
        """Ask for the end of all of its machines."""
        zone, names = id_parts(machine_id)
        for name in names:
            self._delete(zone, name)

    def console_log(self, machine_id: str) -> str:
        """What the machine wrote on its first serial port."""
        zone, names = id_parts(machine_id)
        return joined_consoles({name: self._serial_port(zone, name) for name in names})

    def _serial_port(self, zone: str, name: str) -> str:
        with translated(f"gcp {zone}"):
            from google.api_core.exceptions import NotFound

            try:
                answer = self._calls.client("Instances").get_serial_port_output(
                    project=self._calls.project, zone=zone, instance=name, **self._calls.reading
                )
            except NotFound:
                return ""
        return str(answer.contents)

    def _names(self, region: str) -> Names:
        return Names(self._calls.project, region)

    def bucket(self, region: str) -> tuple["ObjectStore", str]:
        """One of Cloud Storage."""
        bucket = self._names(region).bucket
        return self._calls.store(bucket), f"bucket {bucket}"

    def hand_over(self, intent: Intent, secrets: Mapping[str, str]) -> str:
        """In Secret Manager."""
        names, seat = self._names(intent.region), self.seat(intent) or self.take_seat(intent)
        if secrets:
            vault.hand_over(self._calls, names, seat, intent, secrets)
        return vault.path(names, seat)

    def empty(self, region: str, seat: Seat) -> None:
        """From Secret Manager."""
        vault.forget(self._calls, self._names(region), seat)

    def _insert(self, intent: Intent, zone: str, body: dict[str, object]) -> Unclear | None:
        """Ask once: Google knows a request by its number, and a machine by its name.

        The machine may be there although the operation that makes it does not come to an end.
        """
        with refusals_make_nothing(), translated(f"gcp {zone}"):
            from google.api_core.exceptions import Conflict
            from google.cloud import compute_v1

            client = self._calls.client("Instances")
            common = {
                "project": self._calls.project,
                "zone": zone,
                "request_id": request_id(intent, zone),
            }
            text = json.dumps(body)
            try:
                if intent.nodes == 1:
                    operation = client.insert_unary(
                        compute_v1.InsertInstanceRequest(
                            instance_resource=compute_v1.Instance.from_json(text), **common
                        ),
                        timeout=TIMEOUT_S,
                    )
                else:
                    resource = compute_v1.BulkInsertInstanceResource.from_json(text)
                    operation = client.bulk_insert_unary(
                        compute_v1.BulkInsertInstanceRequest(
                            bulk_insert_instance_resource_resource=resource, **common
                        ),
                        timeout=TIMEOUT_S,
                    )
            except Conflict:
                # This attempt's own machine, from a request that Google has forgotten.
                return None
        try:
            finished(self._calls, zone, operation)
        except Unclear as error:
            return error
        except CloudError as error:
            # What a failed operation had begun Google takes back, but not in the same moment.
            error.made_nothing = error.made_nothing and self._is_bare(intent, zone)
            raise
        return None

    def _is_bare(self, intent: Intent, zone: str) -> bool:
        """Whether none of the attempt's machines is there, for certain."""
        try:
            found = [look(self._calls, zone, name) for name in instance_names(intent)]
        except CloudError:
            return False
        return found.count(None) == len(found)

    def _dealt_with(self, zone: str, member: Member) -> Member:
        """A machine that stands still is never started again: it goes as soon as it is seen."""
        if member.stands_still:
            self._delete(zone, member.name)
        return member

    def _delete(self, zone: str, name: str) -> None:
        with translated(f"gcp {zone}"):
            from google.api_core.exceptions import NotFound

            try:
                # Without a request's number: a deletion that failed is to be tried anew.
                self._calls.client("Instances").delete_unary(
                    project=self._calls.project, zone=zone, instance=name, timeout=TIMEOUT_S
                )
            except NotFound:
                return

    def lost_member(self, intent: Intent, unfinished: set[int]) -> End | None:
        """By the states that Compute Engine tells."""
        if intent.zone is None:
            return None
        for rank, name in enumerate(instance_names(intent)):
            if rank not in unfinished:
                continue
            member = look(self._calls, intent.zone, name)
            if member and member.state in (MachineState.TERMINATING, MachineState.TERMINATED):
                return lost(name, rank, "preempted" if member.preempted else "machine_failed")
        return None


def open_cloud(home: Path) -> Cloud:
    """The account is told by the credentials, not by the state folder."""
    return GcpCloud()
