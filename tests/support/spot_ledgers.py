"""Ledgers of runs on spot machines, written fact by fact."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mlbroker.broker.ledger.sqlite import SqliteStorage

START = datetime(2026, 11, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Try:
    """An attempt `at_h` hours after `START`; without `lived_h`, its machine is still up.

    `why` "no_capacity" had no machine.
    """

    at_h: float
    why: str
    lived_h: float | None = None
    zone: str | None = "us-east-1a"
    region: str = "us-east-1"
    instance_type: str = "g5.xlarge"
    market: str = "spot"
    nodes: int = 1
    at_most: bool = False


def write(home: Path, *tries: Try) -> None:
    """Each try is a run of its own."""
    with SqliteStorage(home / "ledger.db").write() as ledger:
        for number, each in enumerate(tries):
            at = START + timedelta(hours=each.at_h)
            for kind, body in _facts(each, at):
                ledger.append(at, f"run-{number:05}", kind, body)


def _facts(each: Try, at: datetime) -> list[tuple[str, dict[str, Any]]]:
    opening: dict[str, Any] = {"job": "j", "user": "u", "cap_usd": "5", "reserved_usd": "5"}
    place = {name: getattr(each, name) for name in ("region", "zone", "instance_type")}
    intended = {
        **place, "cloud": "aws", "market": each.market, "nodes": each.nodes, "attempt": 1,
        "token": "t", "price_per_hour_usd": "1", "kill_at": at.isoformat(), "worst_usd": "4",
    }  # fmt: skip
    facts = [("reserved", opening), ("intended", intended), ("armed", {})]
    if each.why == "no_capacity":
        told = {"why": each.why}
        return [
            *facts,
            ("refused", told),
            ("absent", told),
            ("settled", {"outcome": "not_launched"}),
        ]
    facts.append(("created", {"machine_id": "i-1", "started_at": at.isoformat()}))
    if each.lived_h is None:
        return facts
    ended = (at + timedelta(hours=each.lived_h)).isoformat()
    gone = {"why": each.why, "ended_at": ended, "charged_usd": "1", "at_most": each.at_most}
    return [*facts, ("ended", {"why": each.why}), ("terminated", gone),
            ("settled", {"outcome": each.why})]  # fmt: skip
