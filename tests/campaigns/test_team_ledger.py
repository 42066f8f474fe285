"""A team's ledger on PostgreSQL: many clients, one cap; the server killed in the middle of commits;
commits a second; a reservation after a long history. All at full size: `make bench-ledger`.
"""

import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.support.campaign import figures, size
from tests.support.forks import in_fork, wait
from tests.support.policies import judge_by
from tests.support.postgres import Postgres, needs_postgres
from tests.support.report_ledgers import many, write

from mlbroker.broker.app.team_ledger import migrate
from mlbroker.broker.errors import RefusedError
from mlbroker.broker.ledger import Ledger, LedgerError, team_storage
from mlbroker.broker.runs.admission import PolicyAdmission
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.policies.guardrails.interface import Who
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.vendors import Meter

pytestmark = needs_postgres
BODY: dict[str, Any] = {
    "job": "j", "user": "u", "project": None, "cap_usd": "1", "reserved_usd": "1",
}  # fmt: skip
HERE = LaunchOption("local", "on-prem", "local", "on_demand", Bill(Decimal(1), 1, Meter()))


def now() -> datetime:
    return datetime.now(UTC)


def at_once(url: str, processes: int, work: Callable[[Ledger, int], None]) -> list[int]:
    """Exit codes of clients that start together, all connected to this ledger."""
    gate_read, gate_write = os.pipe()
    ready_read, ready_write = os.pipe()

    def one(number: int) -> None:
        ledger = Ledger(team_storage(url))
        ledger.head()
        os.write(ready_write, b"x")
        os.read(gate_read, 1)
        work(ledger, number)

    pids = [in_fork(lambda n=n: one(n)) for n in range(processes)]  # type: ignore[misc]
    for _ in range(processes):
        os.read(ready_read, 1)
    os.write(gate_write, b"x" * processes)
    codes = sorted(wait(pid) for pid in pids)
    for end in (gate_read, gate_write, ready_read, ready_write):
        os.close(end)
    return codes


def test_a_race_for_a_teams_cap(postgres: Postgres) -> None:
    racers, rounds, admits = size(20, 200), size(3, 50), 10
    admission = PolicyAdmission(
        judge_by(f"max_spend_per_day: {admits}", Who("u")), [HERE], "j", Decimal(1)
    )
    with figures("team-cap-race") as kept:
        for _ in range(rounds):
            url = postgres.ledger()

            def race(ledger: Ledger, racer: int) -> None:
                try:
                    ledger.reserve(now(), f"r{racer}", BODY, admission)
                except RefusedError:
                    os._exit(3)

            assert at_once(url, racers, race) == [0] * admits + [3] * (racers - admits)
            ledger = Ledger(team_storage(url))
            assert len(ledger.runs()) == admits
            assert ledger.verify() is None
        kept |= {"processes": racers, "rounds": rounds, "admitted": admits, "lock errors": 0}


def test_a_server_that_is_killed_loses_no_acknowledged_row(
    own_postgres: Postgres, tmp_path: Path
) -> None:
    writers, rows, kills = size(4, 20), size(60, 500), size(3, 30)
    server, url = own_postgres, own_postgres.ledger()
    chance = random.Random(1)

    def write_rows(writer: int) -> None:
        ledger = Ledger(team_storage(url))
        with open(tmp_path / f"acknowledged.{writer}", "ab", buffering=0) as note:
            for row in range(rows):
                for attempt in range(10_000):
                    run_id = f"w{writer}-{row:04}-{attempt}"
                    try:
                        ledger.reserve(now(), run_id, BODY)
                    except LedgerError:
                        time.sleep(0.02)
                        continue
                    note.write(f"{run_id}\n".encode())
                    break

    with figures("team-killed-server") as kept:
        pids = [in_fork(lambda w=w: write_rows(w)) for w in range(writers)]  # type: ignore[misc]
        for number in range(kills):
            seen = acknowledged(tmp_path)
            # Each strikes while rows are being written, the last as well.
            share = writers * rows * (number + 1) // (kills + 1)
            while len(seen) < share:
                time.sleep(chance.uniform(0.001, 0.02))
                seen = acknowledged(tmp_path)
            server.kill()
            server.start()
        assert [wait(pid) for pid in pids] == [0] * writers
        ledger = Ledger(team_storage(url))
        assert ledger.verify() is None
        opened = [fact.run_id for fact in ledger.facts()]
        assert len(opened) == len(set(opened)), "none twice"
        # Exactly those: what was not acknowledged was said not to be there.
        assert sorted(opened) == sorted(acknowledged(tmp_path))
        assert len(opened) == writers * rows
        kept |= {"writers": writers, "rows each": rows, "kills": kills, "rows lost": 0}


def acknowledged(folder: Path) -> list[str]:
    paths = folder.glob("acknowledged.*")
    return [line for path in paths for line in path.read_text().splitlines()]


def test_commits_a_second_of_many_clients(own_postgres: Postgres) -> None:
    clients, each = size(8, 100), size(12, 60)
    url = own_postgres.ledger()

    def work(ledger: Ledger, client: int) -> None:
        for number in range(each):
            # A run has about a dozen facts.
            run_id = f"c{client}-{number // 12}"
            if number % 12 == 0:
                ledger.reserve(now(), run_id, BODY)
            else:
                ledger.append(now(), run_id, "noted", {"text": "a fact of the usual length"})

    with figures("team-commits") as kept:
        assert at_once(url, clients, work) == [0] * clients
        ledger = Ledger(team_storage(url))
        assert ledger.head()[0] == clients * each
        moments = [fact.at for fact in ledger.facts()]
        rate = clients * each / (max(moments) - min(moments)).total_seconds()
        kept |= {"clients": clients, "commits": clients * each, "commits per second": round(rate)}
    assert rate > size(20, 300)


def test_a_reservation_after_a_long_history(
    own_postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under monthly caps on users, with all runs in this month and so under those caps."""
    runs, tries = size(300, 100_000), size(5, 50)
    url = own_postgres.database()
    monkeypatch.setenv("MLBROKER_LEDGER", url)
    write(tmp_path, (made for made in many(runs, 25, seed=1, end=now()) if made.outcome))
    began = time.perf_counter()
    copied = migrate(tmp_path, from_sqlite=True, writer=None)
    copying_s = time.perf_counter() - began
    judge = judge_by("max_spend_per_month: {per_user: 1000000000 USD}", Who("u"))
    admission = PolicyAdmission(judge, [HERE], "j", Decimal(1))
    ledger = Ledger(team_storage(url))
    took = []
    with figures("team-history") as kept:
        for number in range(tries):
            began = time.perf_counter()
            ledger.reserve(now() + timedelta(seconds=1), f"r{number}", BODY, admission)
            took.append(time.perf_counter() - began)
        kept |= {
            "runs": runs, "facts": copied["facts"], "seconds to copy": round(copying_s, 1),
            "milliseconds a reservation": round(sorted(took)[tries // 2] * 1000, 1),
        }  # fmt: skip
    assert sorted(took)[tries // 2] < 0.25
