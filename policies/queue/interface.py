"""What a queue policy sees, and what it may ask for.

Moments are seconds on the caller's clock, spans are hours, money is USD. A *place* is what one
member of a gang takes: a GPU, or a seat of a machine without one.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol


class Job(NamedTuple):
    """A job that waits or runs.

    `value_usd_per_h` is what an hour of its waiting costs. `left_h` is the predicted work that is
    left (the median) and `left_p90_h` its 90th percentile; None where nobody predicts. `setup_h`
    passes on own places before it works (on). `attained_h` is how long it has worked. `pools`
    names where it may run; None: anywhere. A gang lies in one pool.
    `promoted`: it was started or kept for its deadline, and no policy takes its places any more.
    """

    id: str
    places: int
    submitted_s: float
    value_usd_per_h: float
    left_h: float | None
    left_p90_h: float | None
    team: str = ""
    deadline_s: float | None = None
    preemptible: bool = True
    setup_h: float = 0.0
    attained_h: float = 0.0
    promoted: bool = False
    pools: frozenset[str] | None = None

    @property
    def area_h(self) -> float:
        """Predicted place-hours that are left."""
        return self.places * believed_h(self)


class Running(NamedTuple):
    """A job on own places; the job's `left_h`, `left_p90_h` and `attained_h` are as of now.

    `can_yield`: it is at a checkpoint, or near enough to one.
    """

    job: Job
    pool: str
    can_yield: bool = True

    @property
    def is_fixed(self) -> bool:
        """Nobody may take its places."""
        return not (self.job.preemptible and self.can_yield) or self.job.promoted


class Cloud(NamedTuple):
    """Where a job may go instead of waiting; the set-up is billed."""

    usd_per_place_h: float
    setup_h: float

    def cost_usd(self, job: Job) -> float:
        """What the rest of the job is expected to cost there."""
        return self.usd_per_place_h * job.places * (believed_h(job) + self.setup_h)


class Team(NamedTuple):
    """`share` of the places that is the team's own when it wants them; None: no share.

    `used_place_h` lately, with older use counting less; `cloud_usd_left` of the month's cap.
    """

    share: float | None = None
    used_place_h: float = 0.0
    cloud_usd_left: float | None = None


class State(NamedTuple):
    """The queue at one moment. `pools` are the places of each, busy ones too.

    Decisions are taken at least every `tick_h` where a policy asked to look again.
    """

    now_s: float
    pools: Mapping[str, int]
    waiting: Sequence[Job]
    running: Sequence[Running]
    cloud: Cloud | None = None
    teams: Mapping[str, Team] = {}
    tick_h: float = 0.0

    @property
    def places(self) -> int:
        """Of all pools."""
        return sum(self.pools.values())


class Action(StrEnum):
    """What becomes of a job now."""

    START = "start"
    YIELD = "yield"
    BURST = "burst"
    KEEP = "keep"  # it runs on, promoted from now on
    WAIT = "wait"


class Decision(NamedTuple):
    """One job's; `pool` is where it starts, `promoted` that its places are its own to the end."""

    job_id: str
    action: Action
    reason: str
    pool: str | None = None
    promoted: bool = False


class Decisions(NamedTuple):
    """What changes now: who yields comes before who starts.

    `order` are the jobs that wait on, the next first. `look_again_s`: ask again then, though
    nothing happens before; None: at the next submission or end.
    """

    changes: tuple[Decision, ...]
    order: tuple[str, ...]
    look_again_s: float | None = None


class Policy(Protocol):
    """Stateless: the same state, the same decisions."""

    def decide(self, state: State) -> Decisions:
        """Who starts, yields, or goes to the cloud now."""
        ...


# Without a prediction a job is taken for one of an hour, and then for half done: the mean rest
# of a Pareto tail with exponent 2, which makes least attained service of the index.
UNKNOWN_H = 1.0
_LEAST_H = 1 / 3600


def believed_h(job: Job) -> float:
    """Hours of work that are left, as believed; above zero."""
    left_h = max(UNKNOWN_H, job.attained_h) if job.left_h is None else job.left_h
    return max(left_h, _LEAST_H)


def cautious_h(job: Job) -> float:
    """The same, of which nine in ten jobs take no more."""
    if job.left_p90_h is None:
        return 10**0.5 * believed_h(job)  # the same Pareto tail's 90th percentile
    return max(job.left_p90_h, _LEAST_H)


def hopeful_h(job: Job) -> float:
    """The same, of which one job in ten takes no more: as far below the median as above it."""
    return believed_h(job) ** 2 / cautious_h(job)


def opportunity_usd_per_place_h(state: State) -> float:
    """What an hour of one place costs those who wait: each waits 1/places h longer."""
    places = state.places
    return sum(job.value_usd_per_h for job in state.waiting) / places if places else 0.0
