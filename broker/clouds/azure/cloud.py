"""Azure: a resource group for each attempt, which a Logic App deletes whoever else is alive.

The kill switch outside is armed before there is anything to kill. The one inside is the first
line of the machine's script: it has the whole group deleted, with the machine's own identity.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlbroker.broker.clouds.azure import kill, vault
from mlbroker.broker.clouds.azure.calls import TERMS, Calls, done, translated
from mlbroker.broker.clouds.azure.images import how_to_accept
from mlbroker.broker.clouds.azure.machines import LOG_DAYS, Seen, end_of, listed, look, names_in
from mlbroker.broker.clouds.azure.names import NAME, Names
from mlbroker.broker.clouds.azure.network import how_to_set_up, regions_set_up
from mlbroker.broker.clouds.azure.request import machine_body
from mlbroker.broker.clouds.azure.shape import shape_of, zones_offering
from mlbroker.broker.clouds.guest_report import End
from mlbroker.broker.clouds.interface import (
    Cloud,
    Denied,
    Intent,
    Machine,
    MachineState,
    NoCapacity,
    NoQuota,
    Payload,
    Unfit,
    refusals_make_nothing,
)
from mlbroker.broker.clouds.rented import (
    checked_token,
    joined_consoles,
    lost,
    machine_names,
    refuse_fast_clock,
    rented_traits,
)
from mlbroker.broker.clouds.seats import Seat, SeatedCloud
from mlbroker.broker.clouds.user_data import start_script
from mlbroker.broker.errors import CloudError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

# A deletion takes a few minutes, and one that failed is repeated after three.
KILL_SLACK_S = 600.0
REMEMBERS_S = LOG_DAYS * 86400.0
# What Azure takes, before it is wrapped for travelling.
_SCRIPT_BYTES = 65535
# cloud-init runs the script once, and what lies in this folder at every boot.
_EVERY_BOOT = (
    '[ -n "$MLBROKER_GUEST_HOME" ] || ln -s "$0" /var/lib/cloud/scripts/per-boot/mlbroker\n'
)


class AzureCloud(SeatedCloud):
    """A machine's id is its resource group's name, which is the attempt's token."""

    traits = rented_traits(
        KILL_SLACK_S,
        REMEMBERS_S,
        outside=(
            "a Logic App that deletes the run's resource group, armed before the machine exists"
        ),
        inside="a timer on the machine, which has the group deleted",
    )

    def __init__(self, calls: Calls | None = None) -> None:
        self._calls = calls or Calls()

    def account(self) -> str:
        """The subscription."""
        return self._calls.subscription

    def arm_kill(self, intent: Intent) -> None:
        """The Logic App first, then the group it will delete, then what lets a machine in."""
        refuse_fast_clock(intent, self._calls.clock(), "azure")
        kill.arm(self._calls, self._names(intent.region), intent)

    def disarm_kill(self, intent: Intent) -> None:
        """Remove the group, which holds nothing any more, and the Logic App."""
        kill.disarm(self._calls, self._names(intent.region), intent)

    def create(self, intent: Intent, payload: Payload) -> Machine:
        """Lay the job into the bucket and its secrets beside it, then ask for the machine."""
        calls, names, group = self._calls, self._names(intent.region), checked_token(intent)
        with refusals_make_nothing():
            zone = intent.zone or self.first_zone(intent)
            shape = shape_of(calls, intent.region, intent.instance_type, intent.image_id)
            seat = self.take_seat(intent)
            kill.let_end_itself(calls, names, group, seat.number)
            script = start_script(
                intent, names.account, _SCRIPT_BYTES, deletes=True, first_boot=_EVERY_BOOT,
                folder=seat.folder,
            )  # fmt: skip
            self.send(intent, payload)
        number = zone.removeprefix(intent.region).removeprefix("-") or None
        for rank, name in enumerate(machine_names(group, intent.nodes)):
            body = machine_body(intent, names, seat.number, name, number, shape, script)
            try:
                self._put(group, name, body)
            except CloudError as error:
                error.made_nothing = error.made_nothing and rank == 0
                if error.hint == TERMS and shape.plan:
                    error.hint = how_to_accept(shape.plan)
                raise
        seen = look(calls, group)
        if seen is not None:
            return self._dealt_with(seen)
        # Made, and not to be seen yet.
        return Machine(group, MachineState.PENDING, intent.tags, zone=zone)

    def cancel(self, intent: Intent) -> None:
        """Without its group no request that is still on its way makes anything."""
        kill.delete_group(self._calls, checked_token(intent))

    def zones_offering(self, region: str, instance_type: str) -> Sequence[str]:
        """A region without zones is one."""
        return zones_offering(self._calls, region, instance_type)

    def regions_found(self) -> frozenset[str]:
        """Told by the resource groups."""
        return regions_set_up(self._calls)

    def how_to_set_up(self, region: str) -> str:
        """In words."""
        return how_to_set_up(region)

    def find(self, tags: Mapping[str, str]) -> Sequence[Machine]:
        """All attempts with these tags, in every region of the subscription."""
        return listed(self._calls, tags)

    def status(self, machine_id: str) -> Machine | None:
        """What Azure says now, or what its activity log tells of the end."""
        seen = look(self._calls, machine_id)
        return self._dealt_with(seen) if seen else None

    def terminate(self, machine_id: str) -> None:
        """Ask for the end of the group and of all that is in it."""
        kill.delete_group(self._calls, machine_id)

    def console_log(self, machine_id: str) -> str:
        """What the machine wrote on its first serial port."""
        with translated(f"azure {machine_id}"):
            names = names_in(self._calls, machine_id)
            return joined_consoles({name: self._serial_port(machine_id, name) for name in names})

    def _serial_port(self, group: str, name: str) -> str:
        from azure.core.exceptions import ResourceNotFoundError
        from azure.core.rest import HttpRequest

        compute = self._calls.compute
        try:
            told = compute.virtual_machines.retrieve_boot_diagnostics_data(group, name)
        except ResourceNotFoundError:
            return ""
        # The address holds its own short-lived permission.
        answer = compute.send_request(HttpRequest("GET", told.serial_console_log_blob_uri))
        answer.raise_for_status()
        return str(answer.text())

    def _names(self, region: str) -> Names:
        return Names(self._calls.subscription, region)

    def bucket(self, region: str) -> tuple["ObjectStore", str]:
        """A container of a storage account."""
        account = self._names(region).account
        return self._calls.store(account), f"container {NAME} of storage account {account}"

    def hand_over(self, intent: Intent, secrets: Mapping[str, str]) -> str:
        """In the key vault of its seat."""
        names, seat = self._names(intent.region), self.seat(intent) or self.take_seat(intent)
        if secrets:
            vault.hand_over(self._calls, names, seat, intent, secrets)
        return f"{names.vault(seat.number)}/{seat.name}"

    def empty(self, region: str, seat: Seat) -> None:
        """From the key vault of the seat."""
        vault.forget(self._calls, self._names(region), seat)

    def _put(self, group: str, name: str, body: dict[str, Any]) -> None:
        """Ask once, and only for a machine that was never asked for."""
        where = f"azure {group}"
        accepted = False
        try:
            with translated(where):
                from azure.core import MatchConditions
                from azure.core.exceptions import (
                    HttpResponseError,
                    ResourceExistsError,
                    ResourceModifiedError,
                )

                try:
                    poller = self._calls.compute.virtual_machines.begin_create_or_update(
                        group,
                        name,
                        body,
                        match_condition=MatchConditions.IfMissing,
                        retry_total=0,
                    )
                except (ResourceExistsError, ResourceModifiedError) as error:
                    if error.status_code != 412:
                        raise
                    # This attempt's own machine, from a request whose answer was lost.
                    return
                accepted = True
                try:
                    done(poller, f"making {name}", where)
                except HttpResponseError as error:
                    # Made, and not to be seen yet.
                    if error.status_code != 404:
                        raise
        except (NoCapacity, NoQuota, Denied, Unfit) as refusal:
            with suppress(Denied):
                self._clear_away(group, name)
                # Whoever may not ask how it went does not know how it went.
                refusal.made_nothing = not (accepted and isinstance(refusal, Denied))
            raise

    def _clear_away(self, group: str, name: str) -> None:
        """What could not be made stands in its group, failed: it is no machine, so it goes."""
        where = f"azure {group}"
        with translated(where):
            from azure.core.exceptions import ResourceNotFoundError

            try:
                poller = self._calls.compute.virtual_machines.begin_delete(
                    group, name, force_deletion=True
                )
            except ResourceNotFoundError:
                return
            done(poller, f"removing {name}", where)

    def lost_member(self, intent: Intent, unfinished: set[int]) -> End | None:
        """By the states that Azure tells."""
        group = checked_token(intent)
        for rank, name in enumerate(machine_names(group, intent.nodes)):
            why = end_of(self._calls, group, name) if rank in unfinished else None
            if why:
                return lost(name, rank, why)
        return None

    def _dealt_with(self, seen: Seen) -> Machine:
        """A machine that stands still is never started again: it goes as soon as it is seen."""
        if seen.stands_still:
            self.terminate(seen.machine.id)
        return seen.machine


def open_cloud(home: Path) -> Cloud:
    """The account is told by the credentials, not by the state folder."""
    return AzureCloud()
