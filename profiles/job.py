"""What the user asks for: the command, its needs, its work, its deadline and its budget."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from mlbroker.pricing.billing import HOURS_PER_MONTH
from mlbroker.pricing.book import Requirements
from mlbroker.pricing.offer import InstanceType, Market
from mlbroker.pricing.vendors import vendor
from mlbroker.profiles.batch import Adapt, Batch
from mlbroker.profiles.search_space import Study
from mlbroker.profiles.service import Service

# Tells the probe, in the job's Python, what to do to its text batches.
NLP_VARIABLE = "MLBROKER_NLP"


class ObjectiveKind(StrEnum):
    """What to make small."""

    COST = "cost"
    TIME = "time"
    CARBON = "carbon"
    WEIGHTED = "weighted"


class SpotPolicy(StrEnum):
    """Who says when a run on spot waits, moves, or goes on demand; see `policies.spot.POLICIES`."""

    AUTO = "auto"
    GREEDY = "greedy"
    UNIFORM_PROGRESS = "uniform-progress"
    VALUE_INDEX = "value-index"


class Objective(NamedTuple):
    """The objective; `usd_per_kg_co2e` is the price of carbon when it is weighted."""

    kind: ObjectiveKind = ObjectiveKind.COST
    usd_per_kg_co2e: Decimal | None = None


class Work(NamedTuple):
    """How much there is to do, in steps (of any unit the job counts in). `told_by` is who says so,
    where it is not the user.
    """

    steps: int
    epochs: int | None = None
    steps_per_epoch: int | None = None
    told_by: str | None = None


class StatedTime(NamedTuple):
    """How long the user says that the whole work takes, on as many machines of a type as the job
    has. Their start is not in it.
    """

    whole_s: float
    instance_type: str


class Deadline(NamedTuple):
    """A time span from now, or a moment with time zone. Exactly one of the two is set."""

    duration_s: float | None = None
    at: datetime | None = None

    def seconds_from(self, now: datetime) -> float:
        """Seconds left at `now`; negative when it has passed."""
        if self.duration_s is not None:
            return self.duration_s
        assert self.at is not None
        return (self.at - now).total_seconds()


class Checkpoint(NamedTuple):
    """Where the job saves its state, relative to the work directory, and how often."""

    path: str
    every_s: float


@dataclass(frozen=True, slots=True)
class ProfileLimits:
    """What measuring may cost and how long it may take."""

    max_cost_usd: Decimal = Decimal("1")
    max_time_s: float = 600.0


class DataLocation(NamedTuple):
    """A cloud's region, or a whole cloud when `region` is None."""

    cloud: str
    region: str | None = None


class Data(NamedTuple):
    """How many GB go in and out, and where the input lies (None: with the user, outside).

    `checkpoint_gb` is what a machine leaves for the next one to go on from; None where nobody said.
    """

    input_gb: Decimal = Decimal(0)
    output_gb: Decimal = Decimal(0)
    at: DataLocation | None = None
    checkpoint_gb: Decimal | None = None


class Replicas(NamedTuple):
    """A `service` or a `pool` in place of a job: so many of it run until they are stopped."""

    kind: str
    least: int
    most: int

    def monthly_usd(self, hourly_usd: Decimal) -> tuple[Decimal, Decimal]:
        """What a month of 730 hours costs at least and at most, at so much an hour for each."""
        month = HOURS_PER_MONTH * hourly_usd
        return self.least * month, self.most * month


class ResourceOption(NamedTuple):
    """One acceptable kind of machine. `market` None leaves the choice to mlbroker; one that is
    `market_assumed` gives way to a flag. `usual` is the size that is assumed of rented machines
    where the user names none.
    """

    requirements: Requirements = Requirements()
    cloud: str | None = None
    region: str | None = None
    zone: str | None = None
    instance_type: str | None = None
    market: Market | None = None
    disk_gb: int = 100
    image_id: str | None = None
    max_price_per_hour_usd: Decimal | None = None
    usual: Requirements | None = None
    market_assumed: bool = False

    def unmet(self, kind: InstanceType, *, named: bool = False) -> str | None:
        """The first need that a machine of this type does not meet, in words. Nothing is assumed
        of a type that the user `named`.
        """
        found = self.requirements.unmet(kind.hardware)
        if found is not None or self.usual is None or named or vendor(kind.cloud).own:
            return found
        return self.usual.unmet(kind.hardware)

    def distance(self, kind: InstanceType) -> float:
        """How far a type is from meeting the needs, see `Requirements.distance`."""
        if self.cloud not in (None, kind.cloud) or self.instance_type not in (None, kind.name):
            return math.inf
        usual = self.usual.distance(kind.hardware) if self.usual is not None else 0.0
        return self.requirements.distance(kind.hardware) + usual

    def names(self, type_name: str) -> bool:
        """Whether `instance_type` is this type.

        An N1 machine of Google's with the accelerators that are asked for beside it is sold as a
        type of its own, "n1-standard-4+nvidia-tesla-t4:1".
        """
        if self.instance_type == type_name:
            return True
        with_gpu = self.requirements.wants_gpu
        return with_gpu and self.instance_type == type_name.partition("+")[0]


class TextRemedies(NamedTuple):
    """What the probe does to the job's text batches: `trim` cuts columns that are padding in every
    row, `group` makes batches of like lengths, out of so many batches at a time (None: not).
    """

    trim: bool = False
    group: int | None = None

    def __bool__(self) -> bool:
        """Whether anything is asked for."""
        return self != TextRemedies()

    def __str__(self) -> str:
        """As the probe reads it: `trim,group=50`; empty where nothing is asked for."""
        grouped = [] if self.group is None else [f"group={self.group}"]
        return ",".join(["trim"] * self.trim + grouped)


@dataclass(frozen=True, slots=True)
class QueueTerms:
    """What the job says of itself where it waits for a place. None: it says nothing."""

    team: str | None = None
    value_usd_per_h: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One job file, read and checked.

    `resources` are alternatives: a machine that satisfies any of them will do.
    `secrets` holds names only; their values are read from the environment at launch.
    `workdir` is an absolute path or None; `outputs` are paths and patterns in it.
    `needs` are the stages of its pipeline that a stage waits for; None where its file says nothing.
    What has `replicas` never ends by itself: it has a price by the hour alone. Those of a `service`
    follow its load. With a `study` it is one of many trials, whose variables the study chooses.
    `node_counts` are numbers of nodes that may be chosen in place of `num_nodes`, fewest first.
    `ignored` are the fields of the file mlbroker leaves alone, `said` sentences about how it was
    read, and `not_run` what a run would have to do for it and cannot.
    """

    name: str
    command: str
    setup: str | None = None
    workdir: str | None = None
    num_nodes: int = 1
    resources: tuple[ResourceOption, ...] = (ResourceOption(),)
    envs: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    deadline: Deadline | None = None
    confidence: float = 0.9
    budget_usd: Decimal | None = None
    work: Work | None = None
    takes: StatedTime | None = None
    checkpoint: Checkpoint | None = None
    profile: ProfileLimits = ProfileLimits()
    data: Data = Data()
    objective: Objective = Objective()
    runs_per_month: int | None = None
    spot_policy: SpotPolicy = SpotPolicy.AUTO
    progress: str | None = None
    outputs: tuple[str, ...] = ()
    replicas: Replicas | None = None
    needs: tuple[str, ...] | None = None
    service: Service | None = None
    queue: QueueTerms = QueueTerms()
    study: Study | None = None
    batch: Batch | None = None
    node_counts: tuple[int, ...] = ()
    adapt: Adapt = Adapt.ADVISE
    nlp: TextRemedies = TextRemedies()
    ignored: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    not_run: tuple[str, ...] = ()

    def without_duration(self) -> "Job":
        """The same job, as what never ends: nothing is said of how long it takes."""
        return replace(self, work=None, takes=None)

    def on_nodes(self, nodes: int) -> "Job":
        """The same job on so many nodes, which share its batch."""
        told = {} if self.batch is None else self.batch.variables(self.batch.size, nodes)
        return replace(self, num_nodes=nodes, envs={**self.envs, **told})

    @property
    def variables(self) -> Mapping[str, str]:
        """Its environment: what its file says, and what the probe is to do in it."""
        return {**self.envs, NLP_VARIABLE: str(self.nlp)} if self.nlp else self.envs

    @property
    def may_use_gpu(self) -> bool:
        """Whether any acceptable machine was asked for by its GPU."""
        return any(option.requirements.wants_gpu for option in self.resources)

    @property
    def cores(self) -> float | None:
        """How many cores it asks for; None where an alternative does not say, or wants a GPU."""
        asked = [option.requirements.vcpus for option in self.resources]
        known = [need.value for need in asked if need is not None]
        return None if self.may_use_gpu or len(known) < len(asked) else max(known, default=None)

    def fingerprint(self) -> str:
        """Sixteen hex digits over what decides the step time: command, setup, variables, nodes."""
        facts = [self.command, self.setup, sorted(self.variables.items()), self.num_nodes]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
