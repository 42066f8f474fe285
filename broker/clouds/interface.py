"""What a run asks of the place its machine stands in, and how such a place says no.

A cloud is one file with one class and one entry in CLOUDS. `tests/conformance/test_clouds.py`
holds every member to what is written here.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from mlbroker.broker.clouds.guest_report import Report
from mlbroker.broker.errors import CloudError
from mlbroker.pricing.bucket import Pace

# What a machine's tags are called: a token names its attempt.
RUN_TAG = "mlbroker-run"
TOKEN_TAG = "mlbroker-token"  # noqa: S105  # names an attempt, opens nothing


class NoCapacity(CloudError):
    """The place has no such machine now; another place or type may."""


class NoQuota(CloudError):
    """The account may not have more of it here; somebody has to ask the vendor."""


class Denied(CloudError):
    """The credentials do not allow it, or the request itself is wrong: trying again is useless."""


class Unfit(CloudError):
    """This type, size, image or disk is not to be had so in this region; another type may be."""


class Unclear(CloudError):
    """No answer, or none to rely on: it may have happened. Ask again with the same token."""


def one_line(error: object) -> str:
    """What a library said, no longer than anybody reads."""
    return " ".join(str(error).split())[:300]


@contextmanager
def refusals_make_nothing() -> Iterator[None]:
    """A no that comes in here is for certain: no machine was asked for, or the vendor declined."""
    try:
        yield
    except (NoCapacity, NoQuota, Denied, Unfit) as error:
        error.made_nothing = True
        raise


class MachineState(StrEnum):
    """How far a machine is. Only TERMINATED bills no more."""

    PENDING = "pending"  # for as long as it likes where the cloud `schedules` (see pricing.vendors)
    RUNNING = "running"
    TERMINATING = "terminating"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class Intent:
    """One attempt, as recorded before the first byte leaves. Equal tokens mean equal intents.

    `lifetime_s` counts from `intended_at` to `kill_at`, the moment by which the kill switches end
    the machine whoever else is alive. `max_price_per_hour_usd` is what may be paid for one machine,
    the bid where the vendor takes one; None for the price itself. `image_id` and `disk_gb` are
    those the job asked for. `guest_late_s`: the machine's own keepers strike so much later than
    `kill_at`, so that the kill switch outside has to; 0 in every run but a proof of it. `places`
    are how many of an own machine it takes at once.
    """

    token: str
    run_id: str
    attempt: int
    job: str
    cloud: str
    region: str
    zone: str | None
    instance_type: str
    market: str
    nodes: int
    price_per_hour_usd: Decimal
    intended_at: datetime
    kill_at: datetime
    disk_gb: int = 100
    image_id: str | None = None
    max_price_per_hour_usd: Decimal | None = None
    guest_late_s: int = 0
    places: int = 1

    @property
    def most_per_hour_usd(self) -> Decimal:
        """What may be paid for one machine: the price, or what it may rise to."""
        return self.max_price_per_hour_usd or self.price_per_hour_usd

    @property
    def tags(self) -> Mapping[str, str]:
        """What a machine is found by; they travel in the call that creates it."""
        return {RUN_TAG: self.run_id, TOKEN_TAG: self.token}


@dataclass(frozen=True, slots=True)
class Payload:
    """What the machine is to do: `spec` for the guest program, and files that go with it.

    `secrets` are values from the launching user's environment. They reach the guest through
    a channel that leaves no trace: never a tag, an argument, user-data or a file of ours.
    """

    spec: Mapping[str, Any]
    bundle: Path | None = None
    restore: Path | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine as its cloud sees it now. Times are the cloud's own; None until it tells.

    Of one that its place has not started yet, or could not, `says` tells why, and `stuck` that as
    things stand it will not, or has waited for as long as it may. `kill_at`: when its place ends
    it, where that may be before the time that was asked for.
    """

    id: str
    state: MachineState
    tags: Mapping[str, str]
    started_at: datetime | None = None
    ended_at: datetime | None = None
    zone: str | None = None
    preempted: bool = False
    says: str | None = None
    kill_at: datetime | None = None
    stuck: bool = False


@dataclass(frozen=True, slots=True)
class Traits:
    """What the driver must know of a cloud to wait and to reckon.

    `kill_slack_s`: how long after `kill_at` a machine may still bill. `visible_after_s`: how
    long a created machine may stay out of listings. `remembers_s`: for how long after its end
    `find` tells of it for certain; None is for ever. `layers`: the kill switches, in words.
    `queues`: jobs wait for a place instead of going elsewhere. `looks`: how often the guest's
    report is read where each reading is paid; else each time, every `poll_s`.
    `lifetime_step_s`: lives are whole multiples of it; 0 is any.
    """

    kill_slack_s: float
    visible_after_s: float
    poll_s: float
    layers: tuple[str, ...]
    remembers_s: float | None = None
    queues: bool = False
    looks: Pace | None = None
    lifetime_step_s: int = 0


class TellsPrice(Protocol):
    """A cloud that also tells what spot machines really cost; most do not.

    Both fail as a Cloud does.
    """

    def spot_prices(self, region: str, instance_type: str) -> Mapping[str, Decimal]:
        """USD for one machine and hour now, by zone; zones of which nothing is known are absent."""
        ...

    def price_paid(self, intent: Intent, began: datetime, ended: datetime) -> Decimal | None:
        """USD for one machine and hour, on average over its life; None where it is not known.

        Asked once the attempt's machines are gone.
        """
        ...


def telling_price(cloud: "Cloud") -> TellsPrice | None:
    """The cloud, where it tells; what stands before it passes on the calls that it has."""
    return cast(TellsPrice, cloud) if hasattr(cloud, "price_paid") else None


class Left(NamedTuple):
    """A file that a guest left in the user's bucket: how large it is, and where it lies."""

    bytes: int
    where: str


class LeavesFiles(Protocol):
    """A cloud whose guests leave files in a bucket, from where each byte home is paid for.

    Both fail as a Cloud does.
    """

    def left(self, intent: Intent, name: str, rank: int = 0) -> Left | None:
        """What it left under this name; None when it left no such file."""
        ...

    def fetch(
        self, intent: Intent, name: str, target: Path, rank: int = 0, most_bytes: int | None = None
    ) -> bool:
        """As in Cloud; Denied where it is longer by now."""
        ...


def leaving_files(cloud: "Cloud") -> LeavesFiles | None:
    """The cloud, where they do."""
    return cast(LeavesFiles, cloud) if hasattr(cloud, "left") else None


class HoldsBack(Protocol):
    """A cloud with a queue of its own that lets its users keep jobs from starting.

    Both fail as a Cloud does.
    """

    def hold(self, machine_id: str) -> None:
        """Not before it is released; one that runs goes on."""
        ...

    def release(self, machine_id: str) -> None:
        """It may start as others do."""
        ...


def holding_back(cloud: "Cloud") -> HoldsBack | None:
    """The cloud, where it does."""
    return cast(HoldsBack, cloud) if hasattr(cloud, "hold") else None


class Cloud(Protocol):
    """A place where machines are made. Every call may be repeated, by any process.

    Calls fail with NoCapacity, NoQuota, Denied, Unfit or Unclear, nothing else.
    """

    @property
    def traits(self) -> Traits:
        """What it is like; always the same but for a cluster that nobody could ask before."""
        ...

    def account(self) -> str:
        """Whose machines these are: account, project or subscription; empty for own machines.

        With the credentials of another one, a machine that lives looks as if it were gone.
        """
        ...

    def regions_set_up(self) -> frozenset[str]:
        """The regions that can be launched in; own machines are all in ON_PREM."""
        ...

    def how_to_set_up(self, region: str) -> str:
        """What to do so that a region can be launched in, in words."""
        ...

    def zones_for(
        self, region: str, instance_type: str, zone: str | None
    ) -> tuple[str | None, ...]:
        """Where in a region to try this type, of all zones or of the wanted one.

        Each zone has capacity of its own. Empty where the region is not set up or has no such
        type; a place without zones is one, whose name is None.
        """
        ...

    def arm_kill(self, intent: Intent) -> None:
        """Set what ends the machine at `kill_at`, before there is a machine."""
        ...

    def disarm_kill(self, intent: Intent) -> None:
        """Take it away, after the machine was seen terminated."""
        ...

    def create(self, intent: Intent, payload: Payload) -> Machine:
        """The machine of this token: made now, or the one that was made before.

        An error says `made_nothing` only when this very call cannot have made a machine, nor will:
        the driver then goes on at once, and otherwise looks twice for what may have come.
        """
        ...

    def cancel(self, intent: Intent) -> None:
        """See to it that a create still on its way makes nothing, where that can be done.

        Elsewhere the driver waits for `visible_after_s` and looks again.
        """
        ...

    def places(self, instance_type: str) -> int | None:
        """How many jobs an own machine takes at a time; None: any number, or it is a vendor's."""
        ...

    def has_room(self, instance_type: str, places: int = 1) -> bool:
        """False while fewer places of an own machine are free; a vendor is simply asked."""
        ...

    def find(self, tags: Mapping[str, str]) -> Sequence[Machine]:
        """All machines with these tags, terminated ones for as long as the cloud remembers."""
        ...

    def status(self, machine_id: str) -> Machine | None:
        """The machine, or None when the cloud does not know it (yet, or any more)."""
        ...

    def terminate(self, machine_id: str) -> None:
        """Ask for its end. That it ended is for `status` to show."""
        ...

    def console_log(self, machine_id: str) -> str:
        """What the machine said about itself, for finding out why a start failed.

        Empty when it said nothing, or when the cloud kept nothing of a machine that is gone.
        """
        ...

    def report(self, intent: Intent) -> Report:
        """What the guest last said; an empty report when it said nothing yet."""
        ...

    def stop_job(self, intent: Intent, why: str) -> None:
        """Ask the guest to end the job in order: checkpoint, outputs, end record."""
        ...

    def read_log(self, intent: Intent, offset: int, rank: int = 0) -> bytes:
        """The job's output from `offset` on, as much as is there."""
        ...

    def fetch(self, intent: Intent, name: str, target: Path, rank: int = 0) -> bool:
        """Copy a file the guest left (`checkpoint.tar`, `outputs.tar`); False if there is none."""
        ...

    def discard(self, intent: Intent) -> None:
        """Remove what the guest left, after it was collected and settled."""
        ...
