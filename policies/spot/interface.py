"""What a spot policy sees, and what it may ask for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mlbroker.policies.spot.hazards import Record

WAIT = -1
ON_DEMAND = -2


@dataclass(frozen=True, slots=True)
class Terms:
    """What does not change during a job. Hours and USD an hour.

    `restart_h` from the request of a machine until the job works on; `tick_h` between two looks;
    `lost_h` the most work that is lost with a machine; `egress_usd` to carry the checkpoint from
    one region to another. `overlaps`: a machine works on while another boots beside it; where it
    does not, it is ended first, and a move takes a restart. `once_usd` is what a machine on demand
    costs beside its hours; the dearest of those that the job may end on costs
    `dearest_usd_per_h`, None where all cost the same.
    """

    work_h: float
    deadline_h: float
    on_demand_usd_per_h: float
    restart_h: float
    tick_h: float
    lost_h: float = 0.0
    egress_usd: float = 0.0
    budget_usd: float | None = None
    overlaps: bool = True
    once_usd: float = 0.0
    dearest_usd_per_h: float | None = None

    @property
    def finish_usd_per_h(self) -> float:
        """What the shells reckon with for an hour on demand."""
        return self.dearest_usd_per_h or self.on_demand_usd_per_h


@dataclass(slots=True)
class Zone:
    """A zone as it is seen now, and what was seen of it before."""

    name: str
    region: str
    up: bool
    price_usd_per_h: float
    since_h: float  # how long it has been as it is, as far as anyone looked
    preempted: Record
    recovered: Record
    once_usd: float = 0.0  # what a machine costs there beside its hours


@dataclass(slots=True)
class View:
    """A job at one moment: the past and the present.

    `on` is where it works, or will in `boot_left_h`: a zone's number, `ON_DEMAND`, or `WAIT`
    where nowhere.
    """

    terms: Terms
    zones: Sequence[Zone]
    time_left_h: float
    work_left_h: float
    saved_left_h: float  # work left after the last checkpoint
    spent_usd: float
    on: int
    boot_left_h: float
    region: str | None  # where the checkpoint lies

    @property
    def slack_h(self) -> float:
        """Time that may pass without work, once the machine that boots has booted."""
        return self.time_left_h - self.work_left_h - self.boot_left_h


class Policy(Protocol):
    """One job's policy: asked at each tick, it names a zone's number, `ON_DEMAND` or `WAIT`."""

    def decide(self, view: View) -> int:
        """Where the job should be; `view.on` keeps it where it is."""
        ...
