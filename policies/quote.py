"""A price for the job on one machine, or the reason why there is none."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from mlbroker.pricing.offer import Market
from mlbroker.profiles.batch import BatchAt
from mlbroker.profiles.prediction import Basis, Quantiles

if TYPE_CHECKING:
    # Loads numpy, which a plan can mostly do without.
    from mlbroker.policies.spot.interface import Terms


class Reason(StrEnum):
    """Why a machine was not quoted. The names are part of the machine-readable contract."""

    NEEDS_NOT_MET = "needs_not_met"
    TOO_LITTLE_MEMORY = "too_little_memory"
    TOO_SLOW = "too_slow"
    OVER_BUDGET = "over_budget"
    PRICE_MISSING = "price_missing"
    PRICE_STALE = "price_stale"
    EXCLUDED_BY_FLAG = "excluded_by_flag"
    EXCLUDED_BY_PIN = "excluded_by_pin"
    RETIRED = "retired"
    ABOVE_PRICE_CEILING = "above_price_ceiling"
    FORBIDDEN_BY_POLICY = "forbidden_by_policy"
    NO_QUOTA = "no_quota"
    NO_CAPACITY = "no_capacity"
    PROBE_FAILED = "probe_failed"
    INTERRUPTED_TOO_OFTEN = "interrupted_too_often"
    CREDITS_RUN_OUT = "credits_run_out"
    NOT_LAUNCHABLE = "not_launchable"


# Why the account cannot have a type, by type id and market (1 is spot).
OutOfReach = Mapping[tuple[int, int], tuple[Reason, str]]


class Cost(NamedTuple):
    """US dollars for the whole run, all nodes, everything included.

    `expected` = compute + storage (disk, address, requests to the bucket) + network + interruptions
    (the expected cost of lost work and restarts on spot). `p90` holds in nine runs of ten,
    at what an old price may be by now.
    """

    expected: Decimal
    p90: Decimal
    compute: Decimal
    storage: Decimal
    network: Decimal
    interruptions: Decimal


class Later(NamedTuple):
    """What a deadline that many hours from now would save against the one there is."""

    deadline_h: float
    saves_usd: Decimal


class Watched(NamedTuple):
    """What own runs saw of a type's spot machines: how many, for how long, and how many were taken.

    `here` is of the place that is quoted, the others of the type anywhere.
    """

    here: int
    machines: int
    hours: float
    taken: int


class FallsBack(NamedTuple):
    """How a spot machine's job keeps its deadline: on demand where spot would not do.

    `terms` are what the spot policy is told; their price is of all nodes, everything included, and
    their work holds with the confidence asked for. `on_demand_share` of the work is expected on
    demand, in the same region at `on_demand_price_per_hour_usd` a machine. `interruption_rate` is
    the share of spot machines that is taken within a month, where it is published. `watched` is
    what own runs saw; None where they saw nothing of the type, and nothing but that share counts.
    `policy` is the spot policy that it is reckoned with, and that a run follows.
    """

    terms: "Terms"
    on_demand_share: float
    later: tuple[Later, ...]
    on_demand_price_per_hour_usd: Decimal
    interruption_rate: float | None = None
    watched: Watched | None = None
    policy: str = "auto"


class Course(NamedTuple):
    """A run's expected duration, its standard deviation, and the part that is always the same."""

    mean_s: float
    sd_s: float
    fixed_s: float


class Quote(NamedTuple):
    """What the job costs on one machine, how long it takes and what it emits.

    `price_per_hour_usd` is of one machine, and what it may rise to while the run lives is
    `max_price_per_hour_usd` (None: it does not), and the price may be higher by the share
    `price_width`, as it is old; `hourly_usd` is of all nodes with their disks, addresses and
    requests, and `once_usd` what is due once (`traffic_usd` of it for traffic). `duration_h`
    includes set-up, and `command_s` is of the job's command alone, undisturbed. `power_w` is of all
    nodes, their share of the building's included. Unknown energy and carbon are None, never 0.
    `option` is the one of the job's resource options that it is of, and `interruption_rate` the
    share of such spot machines that is taken within a month, where it is published. A spot quote
    that `falls_back` on demand has the cost, the duration and the chance of both together. `sure_h`
    is what the run does not exceed with the confidence asked for; one that falls back takes until
    the deadline. `course` is the duration by its moments, as sums of several runs need it. `batch`
    is the one that the run is to have, where that was chosen too; `step_time_s` is then of so much
    work as a step at the job's own batch does.

    Of a job never measured nobody knows step time, duration, cost and chance: they are None, and
    only such a quote has the `relative_speed` of its machine by data sheet.
    """

    cloud: str
    region: str
    instance_type: str
    market: Market
    nodes: int
    price_per_hour_usd: Decimal
    price_as_of: date
    price_source: str
    price_stale: bool
    step_time_s: Quantiles | None
    basis: Basis
    evidence: str
    duration_h: Quantiles | None
    cost_usd: Cost | None
    deadline_probability: float | None
    energy_kwh: float | None
    carbon_kgco2e: float | None
    grid_intensity_kgco2e_per_kwh: float | None
    option: int = 0
    arch: str = "x86_64"
    max_price_per_hour_usd: Decimal | None = None
    command_s: Quantiles | None = None
    price_width: float = 0.0
    hourly_usd: Decimal = Decimal(0)
    once_usd: Decimal = Decimal(0)
    interruption_rate: float | None = None
    traffic_usd: Decimal = Decimal(0)
    power_w: float | None = None
    relative_speed: float | None = None
    falls_back: FallsBack | None = None
    sure_h: float | None = None
    course: Course | None = None
    batch: BatchAt | None = None


class Rejection(NamedTuple):
    """A machine that was not quoted. `cost_usd` and `duration_h` are given where known."""

    cloud: str
    region: str | None
    instance_type: str
    market: Market
    reason: Reason
    detail: str
    cost_usd: Decimal | None = None
    duration_h: float | None = None
