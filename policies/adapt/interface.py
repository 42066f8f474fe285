"""What a strategy of adaptive training sees, and what it may ask for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from mlbroker.profiles.noise import PastNoise
from mlbroker.profiles.step_model import Fitted, Layout, StepAt, Timed

# A move saves so much of staying, and so many seconds of the new machines: figures are off by that.
MOVE_SHARE, MOVE_S = 0.1, 180.0
# At most one move in so much of the work.
WORK_BETWEEN_MOVES = 0.05


class Machines(NamedTuple):
    """Machines that the job may run on: all of them for one price, GPUs used or not.

    `least_local` and `most_local` bound the samples of one GPU in one pass.
    """

    layout: Layout
    instance_type: str
    price_per_hour_usd: float
    least_local: int
    most_local: int


class Candidate(NamedTuple):
    """Machines, by their number, and a batch: GPUs · local batch · (accumulated + 1)."""

    machines: int
    local_batch: int
    accumulated: int
    batch: int


@dataclass(frozen=True, slots=True)
class Terms:
    """What does not change during a job. Times in seconds.

    `default_steps` are the optimizer steps that the default batch takes, epoch by epoch.
    `setup_s` is paid with every start of machines, `restart_s` with every restart of the job.
    `most_batch` is the user's ceiling. `log_speed` of GPU types is from data sheets.
    """

    machines: tuple[Machines, ...]
    candidates: tuple[Candidate, ...]
    default_batch: int
    most_batch: int
    default_steps: tuple[float, ...]
    setup_s: float
    restart_s: float
    deadline_s: float | None
    log_speed: Mapping[str, float]

    def step(self, candidate: int) -> StepAt:
        """The step that a candidate takes."""
        one = self.candidates[candidate]
        return StepAt(self.machines[one.machines].layout, one.local_batch, one.accumulated)

    def move_s(self, origin: int, target: int) -> float:
        """Time without work from one candidate to another: machines that stay need no set-up."""
        if origin == target:
            return 0.0
        same = self.candidates[origin].machines == self.candidates[target].machines
        return self.restart_s if same else self.setup_s + self.restart_s


@dataclass(frozen=True, slots=True)
class Past:
    """What past jobs tell: parameters of their step times, and the course of their φ."""

    steps: tuple[Fitted, ...] = ()
    noise: tuple[PastNoise, ...] = ()


class NoiseSeen(NamedTuple):
    """φ in samples, measured over an epoch (counted from 0) at a batch."""

    epoch: int
    batch: int
    noise: float


@dataclass(frozen=True, slots=True)
class View:
    """A job before its start (`on` None) or at the end of an epoch: past and present only.

    `epoch` is the next one; `moved_at` the one before which it started or last moved.
    """

    terms: Terms
    past: Past
    epoch: int
    time_left_s: float | None
    on: int | None
    moved_at: int
    measured: Sequence[Timed]
    noise: Sequence[NoiseSeen]


class Probe(NamedTuple):
    """Pay for a look at these machines, at some local batches."""

    machines: int
    local_batches: tuple[int, ...]


class Run(NamedTuple):
    """Work on with this candidate until the next epoch ends."""

    candidate: int


class Strategy(Protocol):
    """One job's strategy: asked before the start and after each epoch, until it says `Run`."""

    def decide(self, view: View) -> Probe | Run:
        """What to do next."""
        ...
