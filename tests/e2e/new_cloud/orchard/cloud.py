"""Orchard: a machine for each attempt, which the vendor ends at the time that came with the order.

The kill switch inside is the first line of its script.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from mlbroker.broker.clouds.guest_report import End
from mlbroker.broker.clouds.interface import (
    Cloud,
    Intent,
    Machine,
    MachineState,
    Payload,
    refusals_make_nothing,
)
from mlbroker.broker.clouds.rented import (
    Member,
    RentedCloud,
    joint_machine,
    lost,
    refuse_fast_clock,
    rented_traits,
)
from mlbroker.broker.clouds.user_data import start_script

from . import calls

if TYPE_CHECKING:
    from obstore.store import ObjectStore

BUCKET = "mlbroker-orchard"
KILL_SLACK_S = 60.0
# Orchard lists what was taken down for a day.
REMEMBERS_S = 86400.0


class OrchardCloud(RentedCloud):
    """A machine's id is `ZONE/NAME`."""

    traits = rented_traits(
        KILL_SLACK_S,
        REMEMBERS_S,
        outside="Orchard's own end time, set in the call that makes the machine",
        inside="a timer on the machine, whose shutdown ends it",
    )

    def account(self) -> str:
        """The only one there is."""
        return "orchard"

    def arm_kill(self, intent: Intent) -> None:
        """Nothing to set: the time of its end is part of the order."""
        refuse_fast_clock(intent, calls.clock(), "orchard")

    def disarm_kill(self, intent: Intent) -> None:
        """Nothing to do: it went with the machine."""

    def create(self, intent: Intent, payload: Payload) -> Machine:
        """Lay the job into the bucket, then order: Orchard knows an order by its token."""
        with refusals_make_nothing():
            zone = intent.zone or self.first_zone(intent)
            self.send(intent, payload)
            order = {
                "token": intent.token,
                "zone": zone,
                "kind": intent.instance_type,
                "market": intent.market,
                "tags": dict(intent.tags),
                "ends_by": intent.kill_at.isoformat(),
                "script": start_script(intent, BUCKET),
                "secrets": dict(payload.secrets),
            }
            return _machine(calls.ask("POST", "/machines", order))

    def zones_offering(self, region: str, instance_type: str) -> Sequence[str]:
        """Orchard lists what grows where."""
        found = calls.ask("GET", f"/regions/{region}?{urlencode({'kind': instance_type})}")
        return list(found["zones"]) if found else []

    def regions_found(self) -> frozenset[str]:
        """Orchard's account is set up in all of them, or not at all."""
        return frozenset(calls.ask("GET", "/regions")["regions"])

    def how_to_set_up(self, region: str) -> str:
        """In words."""
        return f"Ask Orchard to open {region} for you."

    def find(self, tags: Mapping[str, str]) -> Sequence[Machine]:
        """All machines with these tags."""
        found = calls.ask("GET", f"/machines?{urlencode(tags)}")["machines"]
        return [_machine(one) for one in found if "mlbroker-token" in one["tags"]]

    def status(self, machine_id: str) -> Machine | None:
        """What Orchard says now."""
        found = calls.ask("GET", f"/machines/{machine_id.partition('/')[2]}")
        return _machine(found) if found else None

    def terminate(self, machine_id: str) -> None:
        """Ask for its end."""
        calls.ask("DELETE", f"/machines/{machine_id.partition('/')[2]}")

    def console_log(self, machine_id: str) -> str:
        """Orchard keeps none."""
        return ""

    def lost_member(self, intent: Intent, unfinished: set[int]) -> End | None:
        """Orchard makes machines one by one."""
        machines = self.find(intent.tags)
        gone = machines and machines[0].state is MachineState.TERMINATED and 0 in unfinished
        return lost(intent.token, 0, "machine_failed") if gone else None

    def bucket(self, region: str) -> tuple["ObjectStore", str]:
        """One for all regions."""
        return calls.store(BUCKET), f"bucket {BUCKET}"

    def hand_over(self, intent: Intent, secrets: Mapping[str, str]) -> str:
        """They come with the order, and its machine alone is told."""
        return "order"

    def forget_secrets(self, intent: Intent) -> None:
        """They went with the machine."""


def open_cloud(home: Path) -> Cloud:
    """The account is told by its token, not by the state folder."""
    return OrchardCloud()


def _machine(told: Mapping[str, Any]) -> Machine:
    ended = told["ended_at"]
    member = Member(
        told["name"],
        MachineState(told["state"]),
        told["tags"],
        datetime.fromisoformat(told["began_at"]),
        datetime.fromisoformat(ended) if ended else None,
    )
    return joint_machine(told["zone"], [member], told["zone"])
