"""What a service is asked for: how its engine scales, how soon it must answer, what it may cost."""

from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

USUAL_SHARE = 0.95


class Measure(StrEnum):
    """Which time of a request the objective is about."""

    LATENCY = "latency"
    TTFT = "ttft"  # to the first token
    TPOT = "tpot"  # for each token after it


class ServiceObjective(NamedTuple):
    """The share of requests of which this time must be within the seconds."""

    measure: Measure
    within_s: float
    share: float = USUAL_SHARE


class Traffic(NamedTuple):
    """Requests a second on average and at their peak, or a file of recorded ones."""

    rate_rps: float | None = None
    peak_rps: float | None = None
    trace: str | None = None


class SampleRequest(NamedTuple):
    """A request as users send it: the path, and a file of bodies."""

    path: str
    body: str | None = None


class Readiness(NamedTuple):
    """How a replica is asked whether it is ready: a GET of `path`, or a POST of `body` (JSON) where
    there is one, for `within_s` from its start on at most. One question waits for `timeout_s`."""

    path: str = "/"
    within_s: float = 1200.0
    timeout_s: float = 15.0
    body: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


class Service(NamedTuple):
    """A service's engine (SkyServe's words) and what its owner asks of it.

    Without `scales` there is always the same number of replicas; `most` None is no maximum.
    `target_rps` is what the engine reckons a replica to serve, and the delays are those after which
    it follows its load. `queue_s`: over the cap nobody waits longer than that.
    A replica answers on `port`, and is ready once it answers `readiness` with success.
    `capacity` are the requests a second that a replica on a machine type serves at the objective,
    as its owner measured them; zero where it never meets it.
    """

    scales: bool = False
    most: int | None = None
    target_rps: float | None = None
    upscale_s: float = 300.0
    downscale_s: float = 1200.0
    objective: ServiceObjective | None = None
    month_usd: Decimal | None = None
    day_usd: Decimal | None = None
    traffic: Traffic = Traffic()
    request: SampleRequest | None = None
    queue_s: float = 10.0
    port: int | None = None
    readiness: Readiness = Readiness()
    capacity: tuple[tuple[str, float], ...] = ()


class Measured(NamedTuple):
    """What a replica serves, as it was measured: requests a second, and the rate that it serves
    with 90 %. `tokens` are those of a request, where it streams."""

    rps: float
    low_rps: float
    config: str
    tokens: float | None = None


def objective_key(objective: ServiceObjective) -> str:
    """The objective in words that tell it from others."""
    return f"{objective.measure} {objective.within_s:g} s for {objective.share:.4g}"
