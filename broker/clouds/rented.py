"""What clouds share whose machines are rented, and told everything through the user's bucket."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mlbroker.broker.clouds.bucket import BucketBox, run_folder
from mlbroker.broker.clouds.guest_report import End, Report, joint_report, unfinished
from mlbroker.broker.clouds.interface import (
    RUN_TAG,
    TOKEN_TAG,
    Denied,
    Intent,
    Left,
    Machine,
    MachineState,
    NoCapacity,
    Payload,
    Traits,
    Unfit,
)
from mlbroker.broker.guest import box as files
from mlbroker.broker.guest.bundle import guest_program
from mlbroker.pricing.bucket import HEEDS, LOOKS, WRITES
from mlbroker.pricing.vendors import vendor

if TYPE_CHECKING:
    from obstore.store import ObjectStore

# Kept long enough to fetch results after a holiday; runs that were collected are gone at once.
KEEP_DAYS = 30
# So far a wrong clock is covered by the kill slack.
CLOCK_TOLERANCE_S = 30.0
_TOKEN = re.compile(r"[a-z](?:[-a-z0-9]{0,57}[a-z0-9])?")


class RentedCloud(ABC):
    """The part of a cloud that chooses zones and speaks with the guest: the same everywhere."""

    @abstractmethod
    def account(self) -> str:
        """As in Cloud."""

    @abstractmethod
    def find(self, tags: Mapping[str, str]) -> Sequence[Machine]:
        """As in Cloud."""

    @abstractmethod
    def arm_kill(self, intent: Intent) -> None:
        """As in Cloud."""

    @abstractmethod
    def disarm_kill(self, intent: Intent) -> None:
        """As in Cloud."""

    @abstractmethod
    def regions_found(self) -> frozenset[str]:
        """The regions where mlbroker is set up, as the vendor tells; asked once."""

    @abstractmethod
    def how_to_set_up(self, region: str) -> str:
        """In words."""

    @abstractmethod
    def zones_offering(self, region: str, instance_type: str) -> Sequence[str]:
        """The zones of this region that offer this type."""

    @abstractmethod
    def bucket(self, region: str) -> tuple["ObjectStore", str]:
        """The bucket of a region, and what it is called in messages."""

    @abstractmethod
    def hand_over(self, intent: Intent, secrets: Mapping[str, str]) -> str:
        """Lay secrets where the attempt's machine alone can read them; tells it where."""

    @abstractmethod
    def forget_secrets(self, intent: Intent) -> None:
        """Remove them, where the machine has not done so."""

    @abstractmethod
    def lost_member(self, intent: Intent, unfinished: set[int]) -> End | None:
        """The end, with its rank, of one of these machines that the vendor ended, or that died."""

    @cached_property
    def _set_up(self) -> frozenset[str]:
        return self.regions_found()

    def regions_set_up(self) -> frozenset[str]:
        """One call for all regions."""
        return self._set_up

    def zones_for(self, region: str, instance_type: str, zone: str | None) -> tuple[str, ...]:
        """The zones that offer this type, where mlbroker is set up."""
        if region not in self.regions_set_up():
            return ()
        offered = self.zones_offering(region, instance_type)
        return tuple(one for one in offered if zone in (None, one))

    def first_zone(self, intent: Intent) -> str:
        """Where to launch when nobody named a zone: the same each time."""
        zones = self.zones_for(intent.region, intent.instance_type, None)
        if not zones:
            raise NoCapacity(
                f"{intent.instance_type} is not offered in {intent.region}, or mlbroker is not "
                "set up there",
                where=intent.cloud,
                hint=self.how_to_set_up(intent.region),
            )
        return zones[0]

    def cancel(self, intent: Intent) -> None:
        """Nobody can take a request back that is on its way to a vendor: waiting shows."""
        return

    def places(self, instance_type: str) -> int | None:
        """The vendor knows, and says no when it has none."""
        return None

    def has_room(self, instance_type: str, places: int = 1) -> bool:
        """Only asking for a machine tells."""
        return True

    def box(self, intent: Intent) -> BucketBox:
        """The attempt's folder in the bucket of its region."""
        store, where = self.bucket(intent.region)
        hint = self.how_to_set_up(intent.region)
        return BucketBox(store, where, run_folder(intent.token), hint)

    def discard(self, intent: Intent) -> None:
        """Take the attempt's secrets away, and empty its folder."""
        self.forget_secrets(intent)
        self.box(intent).discard()

    def report(self, intent: Intent) -> Report:
        """What the machine last left in the bucket."""
        box = self.box(intent)
        reports = box.reports(intent.nodes)
        report = joint_report(reports)
        if intent.nodes == 1 or report.end is not None:
            return report
        gone = self.lost_member(intent, unfinished(reports))
        # One that goes in order leaves its end first, perhaps between the two looks.
        if gone is None or gone.rank not in unfinished(box.reports(intent.nodes)):
            return report
        return replace(report, end=gone)

    def stop_job(self, intent: Intent, why: str) -> None:
        """The machine looks for it: `HEEDS` says how often."""
        self.box(intent).ask_to_stop(why)

    def read_log(self, intent: Intent, offset: int, rank: int = 0) -> bytes:
        """From the parts in the bucket."""
        return self.box(intent).read_log(offset, rank)

    def left(self, intent: Intent, name: str, rank: int = 0) -> Left | None:
        """By the bucket's own listing: what a guest says of it is not believed."""
        return self.box(intent).left(name, rank)

    def fetch(
        self, intent: Intent, name: str, target: Path, rank: int = 0, most_bytes: int | None = None
    ) -> bool:
        """From the bucket."""
        return self.box(intent).fetch(name, target, rank, most_bytes)

    def send(self, intent: Intent, payload: Payload) -> None:
        """Lay the job into the bucket, and its secrets beside it."""
        spec = {
            **payload.spec,
            "token": intent.token,
            "kill_at": intent.kill_at.timestamp() + intent.guest_late_s,
            "nodes": intent.nodes,
            "pace": {"writes": WRITES, "heeds": HEEDS},
            "secret_names": sorted(payload.secrets),
            "secrets_at": self.hand_over(intent, payload.secrets),
            "workdir": None,
            "afterwards": None,
        }
        given = {files.BUNDLE: payload.bundle, files.RESTORE: payload.restore}
        self.box(intent).send(spec, guest_program(), given)


class Form(NamedTuple):
    """One way to write down what an account needs: for a region, and how it is then applied."""

    write: Callable[[str], str]
    ending: str
    apply: str


def checked_token(intent: Intent) -> str:
    """The attempt's token, by which its machines and what goes with them are called."""
    if _TOKEN.fullmatch(intent.token) is None:
        raise Denied(f"not a name for a machine: {intent.token!r}", where=intent.cloud)
    return intent.token


def machine_names(token: str, nodes: int) -> tuple[str, ...]:
    """One name for each machine of the attempt: the same whichever process asks."""
    return (token,) if nodes == 1 else tuple(f"{token}-n{rank}" for rank in range(nodes))


def past_tags(token: str) -> dict[str, str]:
    """The tags of a machine that is gone."""
    return {TOKEN_TAG: token, RUN_TAG: token.removeprefix("mlb-").rpartition("-")[0]}


def id_parts(machine_id: str) -> tuple[str, list[str]]:
    """`PLACE/NAME+NAME` as the place and the names."""
    place, _, names = machine_id.partition("/")
    return place, names.split("+")


@dataclass(frozen=True, slots=True)
class Member:
    """One of an attempt's machines, or what is left to be known of one that is gone."""

    name: str
    state: MachineState
    tags: Mapping[str, str]
    started_at: datetime | None
    ended_at: datetime | None = None
    preempted: bool = False
    stands_still: bool = False


def joint_machine(place: str, members: Sequence[Member], zone: str | None) -> Machine:
    """One or several machines, in the order of their ranks, as the one of an attempt."""
    state = joint_state([member.state for member in members])
    ends = [member.ended_at for member in members if member.ended_at]
    return Machine(
        id=f"{place}/{'+'.join(member.name for member in members)}",
        state=state,
        tags=dict(members[0].tags),
        started_at=min((m.started_at for m in members if m.started_at), default=None),
        ended_at=max(ends, default=None) if state is MachineState.TERMINATED else None,
        zone=zone,
        preempted=any(member.preempted for member in members),
    )


def joint_state(states: Sequence[MachineState]) -> MachineState:
    """Several machines have ended when all have, and run when all run."""
    if all(state is MachineState.TERMINATED for state in states):
        return MachineState.TERMINATED
    if any(state in (MachineState.TERMINATING, MachineState.TERMINATED) for state in states):
        return MachineState.TERMINATING
    if MachineState.PENDING in states:
        return MachineState.PENDING
    return MachineState.RUNNING


def joined_consoles(texts: Mapping[str, str]) -> str:
    """One machine's console as it is; those of several as one text, each under its name."""
    if len(texts) == 1:
        return next(iter(texts.values()))
    return "\n".join(f"{name}:\n{text}" for name, text in texts.items() if text)


def lost(name: str, rank: int, why: str) -> End:
    """The end of a run of several machines, of which the vendor ended this one."""
    return End(why, detail=f"machine {name} ended", rank=rank)


def rented_traits(kill_slack_s: float, remembers_s: float, outside: str, inside: str) -> Traits:
    """The traits of vendors; `outside` and `inside` say what ends a machine from where."""
    return Traits(
        kill_slack_s=kill_slack_s,
        visible_after_s=30.0,
        remembers_s=remembers_s,
        poll_s=5.0,
        looks=LOOKS,
        layers=(outside, inside, "the supervisor of the job"),
    )


def refuse_fast_clock(intent: Intent, vendors_now: datetime, where: str) -> None:
    """The kill time is by this computer's clock: one that is ahead grants more than the cap."""
    ahead = (intent.intended_at - vendors_now).total_seconds()
    if ahead > CLOCK_TOLERANCE_S:
        raise Denied(
            f"this machine's clock is {ahead:.0f} s ahead of {vendor(intent.cloud).name}'s: "
            "the cap would not hold",
            where=where,
            hint="Set the clock right, then run again.",
        )


def refuse_unfit_image(intent: Intent, image: str, made_for: str, arch: str, least_gb: int) -> None:
    """Said before anything is asked for: an image of other machines, or larger than the disk."""
    if made_for != arch:
        raise Unfit(
            f"image {image} is for {made_for}, {intent.instance_type} is {arch}",
            where="resources.image_id",
        )
    if least_gb > intent.disk_gb:
        raise Denied(
            f"the image of {intent.instance_type} needs {least_gb} GB of disk, the job asks for "
            f"{intent.disk_gb} GB",
            where="resources.disk_size",
            hint=f"Write disk_size: {least_gb} or more: the disk is in the cap.",
        )
