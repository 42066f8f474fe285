"""What idle and captured places of own machines cost, by the facts of a ledger."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbroker.broker.files.nodes import Node
from mlbroker.broker.ledger import Ledger, Verdict
from mlbroker.broker.ledger.sqlite import SqliteStorage
from mlbroker.broker.report.captured import Waiting
from mlbroker.broker.report.entries import KINDS, Wait, entries
from mlbroker.broker.report.own_machines import NodeUse, node_uses
from mlbroker.pricing.offer import Hardware

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HARDWARE = Hardware(8, 32, "x86_64")


def at(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)


@given(
    st.lists(
        st.tuples(st.floats(0, 50), st.floats(0, 50), st.floats(0, 9)).map(
            lambda t: (min(t[:2]), max(t[:2]), t[2])
        ),
        max_size=8,
    ),
    st.floats(0, 50),
    st.floats(0, 50),
)
def test_the_sum_over_time_is_that_of_each_one(
    waits: list[tuple[float, float, float]], since: float, until: float
) -> None:
    told = Waiting(((Wait(at(a), at(b)), usd) for a, b, usd in waits), at(99))
    by_each = sum(usd * max(0.0, min(b, until) - max(a, since)) for a, b, usd in waits)
    assert told.usd_between(at(since), at(until)) == pytest.approx(
        by_each if until > since else 0.0, abs=1e-5
    )


def test_who_waits_still_waits_until_now() -> None:
    assert Waiting([(Wait(at(0)), 3.0)], at(2)).usd_between(at(1), at(9)) == pytest.approx(3)


class Books:
    """Runs at two places of one node, hours after noon."""

    def __init__(self, home: Path) -> None:
        self.ledger = Ledger(SqliteStorage(home / "ledger.db"))

    def run(
        self, run_id: str, since: float, start: float, end: float, usd: str = "1",
        rented: str | None = None, gang: int = 1,
    ) -> None:  # fmt: skip
        queue = {"value_usd_per_h": usd, "places": ["local@here/box"], "gang": gang}
        body: dict[str, Any] = {
            "job": run_id, "user": "ada", "cap_usd": "50", "reserved_usd": "50", "queue": queue,
            "candidate": {"cloud": "local", "region": "on-prem", "instance_type": "box",
                          "market": "on_demand"},
        }  # fmt: skip
        if rented is not None:
            body["rented"] = {"cost_usd": rented, "duration_h": 1.0}
        waited = start > since
        self.ledger.reserve(at(since), run_id, body, waits=lambda runs: waited)
        intent = {
            "attempt": 1, "token": run_id, "cloud": "local", "region": "on-prem", "zone": None,
            "instance_type": "box", "market": "on_demand", "nodes": 1, "price_per_hour_usd": "1",
            "kill_at": at(99).isoformat(), "worst_usd": "50", "account": "",
        }  # fmt: skip
        if waited:
            self.ledger.start(at(start), run_id, intent, lambda *_: Verdict(), lambda runs: True)
        else:
            self.ledger.append(at(start), run_id, "intended", intent)
        hours = end - start
        self.step(run_id, start, "armed")
        self.step(run_id, start, "created", machine_id="m", started_at=at(start).isoformat())
        self.step(run_id, start, "confirmed")
        self.step(run_id, end, "ended", why="finished", exit_code=0)
        self.step(
            run_id, end, "terminated", ended_at=at(end).isoformat(), charged_usd=str(hours * gang),
            seconds={"stood": hours * 3600},
        )  # fmt: skip
        self.step(run_id, end, "settled", outcome="succeeded")

    def step(self, run_id: str, hours: float, kind: str, **body: Any) -> None:
        self.ledger.append(at(hours), run_id, kind, body)

    def use(self, **node: Any) -> NodeUse:
        box = Node("box", HARDWARE, Decimal(1), "", count=2, **node)
        runs = entries(self.ledger.facts_of_kinds(KINDS))
        (found,) = node_uses([box], runs, at(-2), at(8))
        return found


def test_a_place_costs_its_share_of_all_that_wait_for_one(tmp_path: Path) -> None:
    books = Books(tmp_path)
    # For rent it had cost 5 USD; here 4, and 1 to 4 two others waited: (6 + 2) · 3 h / 2.
    books.run("long", 0, 0, 4, rented="5")
    books.run("dear", 1, 4, 5, usd="6", rented="9")
    books.run("cheap", 1, 4, 6, usd="2")
    use = books.use(fixed_usd_per_hour=Decimal("0.5"))
    assert use.captured_usd == Decimal(12)
    assert (use.avoidable, use.avoidable_usd, use.elsewhere_usd) == (1, Decimal(12), Decimal(5))
    assert (use.machine_h, use.idle_h) == (7, 13)
    assert use.idle_usd == Decimal("6.5")


def test_a_gang_holds_so_many_places(tmp_path: Path) -> None:
    books = Books(tmp_path)
    books.run("pair", 0, 0, 3, gang=2)
    books.run("next", 1, 3, 4, usd="4")
    use = books.use()
    assert (use.captured_usd, use.machine_h) == (Decimal(8), 7)
    # Nobody knows what it had cost elsewhere, and what an idle hour costs.
    assert (use.avoidable, use.idle_usd) == (0, None)
