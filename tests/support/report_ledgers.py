"""Ledgers of many made-up runs, in the facts that real runs leave."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from mlbroker.broker.ledger import Account, Fact
from mlbroker.broker.ledger.sqlite import SqliteStorage
from mlbroker.broker.ledger.storage import Storage

END = datetime(2026, 11, 20, 15, tzinfo=UTC)
# Cloud, region, type, USD an hour, kg CO2e per kWh.
TYPES = (
    ("aws", "us-east-1", "g5.xlarge", "1.006", 0.38),
    ("aws", "us-west-2", "c7i.2xlarge", "0.357", 0.1),
    ("gcp", "us-central1", "g2-standard-8", "0.8536", 0.41),
    ("azure", "eastus", "D8s_v5", "0.384", None),
    ("ssh", "on-prem", "gpu-box", "0.35", None),
)
OUTCOMES = ("succeeded",) * 8 + ("failed", "capped")


@dataclass(frozen=True)
class Made:
    """A run to be: reserved at `at`, so many hours long; `outcome` None is still running.

    `predicted_h` None is of a job never measured.
    """

    at: datetime
    hours: float
    outcome: str | None = "succeeded"
    predicted_h: float | None = None
    job: str = "train"
    user: str = "ada"
    project: str | None = "vision"
    kind: int = 0
    purpose: str | None = None
    deadline_h: float | None = None
    useful: float = 0.8
    kill_h: float = 48.0


def write(into: Path | Storage, runs: Iterable[Made]) -> None:
    """All in one transaction, each run's facts after the other's; `into` may be a state folder."""
    storage = SqliteStorage(into / "ledger.db") if isinstance(into, Path) else into
    with storage.write() as ledger:
        for number, made in enumerate(runs):
            run_id = f"{made.at:%Y%m%d-%H%M%S}-{number:08x}"
            usd = Decimal(0)
            for at, kind, body in _facts(made, run_id):
                ledger.append(at, run_id, kind, body)
                usd += Decimal(body.get("charged_usd", 0))
            held = Decimal("30") if made.outcome is None else usd
            is_open = made.outcome is None
            ledger.put_account(Account(run_id, made.user, made.project, made.at, is_open, held))


def facts_of(runs: Iterable[Made], until: datetime | None = None) -> Iterator[Fact]:
    """What the ledger held at that moment of runs reserved before it, without its hashes."""
    for number, made in enumerate(runs):
        run_id = f"run-{number:05}"
        for at, kind, body in _facts(made, run_id):
            if until is None or at <= until:
                yield Fact(0, at, run_id, kind, body, "")


def charged(made: Made) -> Decimal:
    """What its machine came to."""
    return round(Decimal(TYPES[made.kind][3]) * Decimal(made.hours), 6)


def _facts(made: Made, run_id: str) -> Iterator[tuple[datetime, str, dict[str, Any]]]:
    cloud, region, name, price, grid = TYPES[made.kind]
    place = {"cloud": cloud, "region": region, "instance_type": name, "market": "on_demand"}
    deadline = made.deadline_h and (made.at + timedelta(hours=made.deadline_h)).isoformat()
    yield made.at, "reserved", {
        "job": made.job, "user": made.user, "project": made.project, "cap_usd": "30",
        "reserved_usd": "30", "candidate": place, "deadline_at": deadline or None,
        "purpose": made.purpose, "order_sha256": "-",
        "prediction": _prediction(made, Decimal(price)),
        "baseline": _usual(made, grid), "rented": _usual(made, grid),
    }  # fmt: skip
    kill_at = (made.at + timedelta(hours=made.kill_h)).isoformat()
    yield made.at, "intended", {
        **place, "zone": None, "attempt": 1, "token": f"mlb-{run_id}-1", "nodes": 1,
        "price_per_hour_usd": price, "kill_at": kill_at, "worst_usd": "30",
    }  # fmt: skip
    yield made.at, "armed", {}
    yield made.at, "created", {"machine_id": f"i-{run_id}", "started_at": made.at.isoformat()}
    yield made.at, "confirmed", {}
    yield made.at, "running", {}
    if made.outcome is None:
        return
    over = made.at + timedelta(hours=made.hours)
    stood = made.hours * 3600
    useful = stood * made.useful if made.outcome == "succeeded" else 0.0
    why = "finished" if made.outcome == "succeeded" else made.outcome
    yield over, "ended", {"why": why}
    kwh = made.hours * 0.25
    yield over, "terminated", {
        "why": why, "ended_at": over.isoformat(), "charged_usd": str(charged(made)),
        "seconds": {"stood": stood, "setup": stood * 0.1, "useful": useful, "unused": 0.0,
                    "lost": stood * 0.9 - useful},
        "energy": {"kwh": kwh, "kgco2e": grid and kwh * grid, "source": "utilisation",
                   "coefficients": "mlbroker-power/2"},
    }  # fmt: skip
    yield over, "settled", {"outcome": made.outcome}


def _prediction(made: Made, price: Decimal) -> dict[str, Any] | None:
    if made.predicted_h is None:
        return None
    hours = [made.predicted_h * share for share in (0.8, 1.0, 1.25)]
    costs = [str(round(price * Decimal(h), 6)) for h in hours]
    return {
        "duration_h": hours, "command_s": [h * 3600 * 0.8 for h in hours],
        "cost_usd": dict(zip(("p10", "p50", "p90"), costs, strict=True)) | {"expected": costs[1]},
        "basis": "measured", "evidence": "measured", "deadline_probability": 0.95,
    }  # fmt: skip


def _usual(made: Made, grid: float | None) -> dict[str, Any] | None:
    if made.predicted_h is None:
        return None
    hours = made.predicted_h * 0.6
    return {
        "cloud": "aws", "region": "us-east-1", "instance_type": "p3.2xlarge",
        "market": "on_demand", "cost_usd": str(round(Decimal("3.06") * Decimal(hours), 6)),
        "duration_h": hours, "energy_kwh": hours * 0.5, "carbon_kgco2e": hours * 0.5 * 0.38,
    }  # fmt: skip


def many(count: int, days: int, seed: int, end: datetime = END) -> Iterator[Made]:
    """So many runs in the days up to `end`, fewer at weekends; the last few are still running."""
    random = Random(seed)
    begin = end - timedelta(days=days)
    moments = []
    while len(moments) < count:
        at = begin + random.random() * (end - begin)
        if at.weekday() < 5 or random.random() < 0.3:
            moments.append(at)
    for number, at in enumerate(sorted(moments)):
        hours = random.lognormvariate(0.0, 0.8)
        known = random.random() < 0.8
        running = number >= count - 3
        yield Made(
            at,
            hours,
            outcome=None if running else random.choice(OUTCOMES),
            predicted_h=hours * random.lognormvariate(0.0, 0.15) if known else None,
            job=f"job-{random.randrange(12)}",
            user=random.choice(("ada", "bob", "cyd")),
            project=random.choice(("vision", "nlp", "ads", None)),
            kind=random.randrange(len(TYPES)),
            purpose="profile" if random.random() < 0.05 else None,
            deadline_h=hours * 1.5 if random.random() < 0.5 else None,
            useful=random.uniform(0.5, 0.9),
        )
