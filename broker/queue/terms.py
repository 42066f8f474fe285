"""What a run says of itself in a queue, and what its ledger tells of it, as a policy's job."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from mlbroker.broker.ledger import Run
from mlbroker.broker.ledger.state import PREDICTION
from mlbroker.pricing.vendors import LOCAL

if TYPE_CHECKING:
    from mlbroker.policies.queue.interface import Job

# In the fact that opens a run.
QUEUE = "queue"
USUAL_POLICY = "auto"
NO_SHARES: Mapping[str, float] = {}
# What an hour of waiting costs where nobody says: the order of runs that say nothing is by how
# long they are expected to take, and then by when they came.
USUAL_USD_PER_H = Decimal(1)


class Asked(NamedTuple):
    """What its user says of a run: what an hour of waiting costs, whose it is, and whether others
    may have its place at a checkpoint; and what the policy file said then of queues: by which
    policy they are, and what share of the places is which team's.
    """

    value_usd_per_h: Decimal = USUAL_USD_PER_H
    team: str | None = None
    yields: bool = True
    policy: str = USUAL_POLICY
    shares: Mapping[str, float] = NO_SHARES


class Terms(NamedTuple):
    """`yields`: it may be stopped at a checkpoint for another. `places`: where it may run;
    `gang`: how many of one it takes at once.

    `policy` and `shares` are as its policy file had them: all who ask go by the books alone.
    """

    value_usd_per_h: Decimal
    team: str | None
    yields: bool
    policy: str
    shares: Mapping[str, float]
    places: tuple[str, ...]
    gang: int = 1

    def body(self) -> dict[str, Any]:
        """As the ledger keeps it."""
        return {
            "value_usd_per_h": str(self.value_usd_per_h),
            "team": self.team,
            "yields": self.yields,
            "policy": self.policy,
            "shares": dict(self.shares),
            "places": list(self.places),
            "gang": self.gang,
        }

    @classmethod
    def of(cls, run: Run) -> "Terms":
        """Of a run, also of one that was opened without any."""
        told = run.details.get(QUEUE) or {}
        first = [place] if (place := first_place(run)) else []
        return cls(
            Decimal(told.get("value_usd_per_h", USUAL_USD_PER_H)),
            told.get("team"),
            bool(told.get("yields")),
            told.get("policy", USUAL_POLICY),
            told.get("shares", NO_SHARES),
            tuple(told.get("places", first)),
            told.get("gang", 1),
        )


def place_name(cloud: str, machine: str, host: str | None) -> str:
    """A machine, as the runs that wait for it call it. What is `local` is so on a `host`: a team's
    ledger knows many.
    """
    return f"{cloud}@{host}/{machine}" if cloud == LOCAL and host else f"{cloud}/{machine}"


def place_told(name: str) -> tuple[str, str, str | None]:
    """Cloud, machine and host of a place."""
    cloud, _, machine = name.partition("/")
    cloud, _, host = cloud.partition("@")
    return cloud, machine, host or None


def first_place(run: Run) -> str:
    """Where the run is to start; empty where nobody knows."""
    told = run.details.get("candidate")
    if not told:
        return ""
    return place_name(told["cloud"], told["instance_type"], run.details.get("host"))


def job_of(run: Run, now: datetime) -> "Job":
    """The run as a queue policy sees it: hours as they are believed now."""
    from mlbroker.policies.queue.interface import Job  # with all policies: most runs never queue

    terms = Terms.of(run)
    attained_h = sum((_useful_h(attempt.seconds) for attempt in run.attempts), 0.0)
    live = run.attempts[-1] if run.attempts and run.attempts[-1].ended_at is None else None
    if live is not None and live.started_at is not None:
        attained_h += max(0.0, (now - live.started_at).total_seconds() / 3600)
    left_h, left_p90_h, setup_h = _left(run.details.get(PREDICTION), attained_h)
    deadline_at = run.details.get("deadline_at")
    return Job(
        id=run.run_id,
        places=terms.gang,
        submitted_s=run.reserved_at.timestamp(),
        value_usd_per_h=float(terms.value_usd_per_h),
        left_h=left_h,
        left_p90_h=left_p90_h,
        team=terms.team or "",
        deadline_s=datetime.fromisoformat(deadline_at).timestamp() if deadline_at else None,
        preemptible=terms.yields,
        setup_h=setup_h,
        attained_h=attained_h,
        promoted=run.promoted,
        pools=frozenset(terms.places),
    )


def _useful_h(seconds: Mapping[str, float | None] | None) -> float:
    return ((seconds or {}).get("useful") or 0.0) / 3600


def _left(
    prediction: Mapping[str, Any] | None, attained_h: float
) -> tuple[float | None, float | None, float]:
    """Median and 90th percentile of the work that is left, and the set-up before it."""
    if prediction is None:
        return None, None, 0.0
    from mlbroker.policies.queue.remaining import remaining_h, sigma_of

    whole_h: Sequence[float] = prediction["duration_h"]
    command_s = prediction.get("command_s")
    hours = [second / 3600 for second in command_s] if command_s else whole_h
    left_h, left_p90_h = remaining_h(hours[1], attained_h, sigma_of(hours[1], hours[2]))
    return left_h, left_p90_h, max(0.0, whole_h[1] - hours[1])
