"""The books: order of facts, durability, damage, other versions, clocks, full disks."""

import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.report_ledgers import Made, many, write

from mlbroker.broker.errors import RefusedError
from mlbroker.broker.ledger import IllegalStep, Ledger, LedgerError, State, Verdict, open_ledger
from mlbroker.broker.ledger.sqlite import SqliteStorage
from mlbroker.broker.ledger.state import _NEXT, NOTES
from mlbroker.broker.report.entries import KINDS, entries

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
RESERVED: dict[str, Any] = {
    "job": "j",
    "user": "u",
    "project": None,
    "cap_usd": "5",
    "reserved_usd": "5",
}


def intended(number: int = 1, worst: str = "4") -> dict[str, Any]:
    return {
        "attempt": number,
        "token": f"t{number}",
        "cloud": "sim",
        "region": "r",
        "instance_type": "m",
        "market": "spot",
        "nodes": 1,
        "price_per_hour_usd": "1",
        "kill_at": (NOW + timedelta(hours=4)).isoformat(),
        "worst_usd": worst,
    }


BODIES: dict[str, dict[str, Any]] = {
    "intended": intended(),
    "created": {"machine_id": "i-1", "started_at": NOW.isoformat()},
    "refused": {"why": "no_capacity"},
    "absent": {"why": "no_capacity"},
    "ended": {"why": "finished", "exit_code": 0},
    "terminated": {"why": "finished", "ended_at": NOW.isoformat(), "charged_usd": "1.5"},
    "settled": {"outcome": "succeeded", "exit_code": 0},
    "stop_requested": {"why": "stopped"},
}


def to_terminated(ledger: Ledger, run_id: str = "r1") -> None:
    ledger.reserve(NOW, run_id, RESERVED)
    for kind in ("intended", "armed", "created", "confirmed", "running", "ended", "collected"):
        ledger.append(NOW, run_id, kind, BODIES.get(kind, {}))
    ledger.append(NOW, run_id, "terminating", {})
    ledger.append(NOW, run_id, "terminated", BODIES["terminated"])


def test_a_run_is_the_fold_of_its_facts(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    to_terminated(ledger)
    held = ledger.run("r1")
    assert held is not None
    assert (held.state, held.reserved_usd, held.spent_usd) == (
        State.TERMINATED, Decimal(5), Decimal("1.5"),
    )  # fmt: skip
    ledger.append(NOW, "r1", "settled", BODIES["settled"])
    run = open_ledger(tmp_path).run("r1")
    assert run is not None
    assert (run.reserved_usd, run.spent_usd, run.outcome) == (0, Decimal("1.5"), "succeeded")
    assert ledger.verify() is None


def test_runs_of_a_market_are_whole_and_the_others_are_left_out(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    assert ledger.runs("spot") == []
    to_terminated(ledger)
    ledger.reserve(NOW, "r2", RESERVED)
    ledger.append(NOW, "r2", "intended", {**intended(), "market": "on_demand"})
    ledger.reserve(NOW, "r3", RESERVED)
    assert ledger.runs("spot") == [ledger.run("r1")]
    assert [run.run_id for run in ledger.runs("on_demand")] == ["r2"]


def test_a_second_attempt_needs_the_first_to_be_gone(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    ledger.reserve(NOW, "r1", RESERVED)
    ledger.append(NOW, "r1", "intended", intended())
    for kind in ("armed", "created", "confirmed", "running", "ended"):
        with pytest.raises(IllegalStep):
            ledger.append(NOW, "r1", "intended", intended(2))
        ledger.append(NOW, "r1", kind, BODIES.get(kind, {}))


def test_all_attempts_together_stay_under_the_reservation(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    to_terminated(ledger)
    with pytest.raises(IllegalStep, match="more than is left"):
        ledger.append(NOW, "r1", "intended", intended(2, worst="3.6"))
    run = ledger.append(NOW, "r1", "intended", intended(2, worst="3.5"))
    assert len(run.attempts) == 2


@given(st.lists(st.sampled_from([*State, *sorted(NOTES), "approved", "nonsense"]), max_size=30))
@settings(max_examples=60)
def test_only_steps_that_may_follow_are_kept(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str]
) -> None:
    ledger = open_ledger(tmp_path_factory.mktemp("ledger"))
    state: State | None = None
    kept = 0
    for kind in kinds:
        body = BODIES.get(kind, RESERVED if kind == "reserved" else {})
        if kind == "intended":
            body = intended(worst="0.1")
        if kind == "terminated":
            body = {**body, "charged_usd": "0.1"}
        legal = kind in _NEXT[state] if kind in list(State) else kind in NOTES and state is not None
        try:
            ledger.append(NOW, "r1", kind, body)
            assert legal or kind == "disarmed"
            kept += 1
            state = State(kind) if kind in list(State) else state
        except IllegalStep:
            assert not legal or kind == "disarmed"
    assert ledger.head()[0] == kept
    assert ledger.verify() is None


def test_history_cannot_be_changed_through_the_database(tmp_path: Path) -> None:
    to_terminated(open_ledger(tmp_path))
    database = sqlite3.connect(tmp_path / "ledger.db")
    for statement in ("UPDATE facts SET body = '{}'", "DELETE FROM facts"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            database.execute(statement)


@pytest.mark.parametrize(
    ("tampering", "says"),
    [
        (
            "UPDATE facts SET body = replace(body, '1.5', '0.5') WHERE kind = 'terminated'",
            "changed",
        ),
        ("DELETE FROM facts WHERE seq = 3", "missing"),
        ("UPDATE facts SET at = '2020-01-01T00:00:00+00:00' WHERE seq = 1", "changed"),
        ("UPDATE accounts SET usd = '0'", "balance"),
        ("DELETE FROM accounts", "balance"),
        ("INSERT INTO accounts VALUES ('x', 'u', NULL, '2026-01-01', 1, '9')", "without facts"),
    ],
)
def test_tampering_is_found(tmp_path: Path, tampering: str, says: str) -> None:
    to_terminated(open_ledger(tmp_path))
    database = sqlite3.connect(tmp_path / "ledger.db")
    database.executescript(f"DROP TRIGGER facts_stay; DROP TRIGGER facts_keep; {tampering}")
    database.close()
    found = open_ledger(tmp_path).verify()
    assert found is not None
    assert says in found.what


def test_a_damaged_page_is_found_and_refused(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    for number in range(200):
        ledger.reserve(NOW, f"r{number}", RESERVED)
    sqlite3.connect(tmp_path / "ledger.db").execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray((tmp_path / "ledger.db").read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    (tmp_path / "ledger.db").write_bytes(data)
    damaged = open_ledger(tmp_path)
    assert damaged.verify() is not None
    with pytest.raises(LedgerError, match="cannot use the ledger"):
        open_ledger(tmp_path).reserve(NOW, "new", RESERVED)


def test_a_newer_format_is_left_alone(tmp_path: Path) -> None:
    open_ledger(tmp_path).reserve(NOW, "r1", RESERVED)
    database = sqlite3.connect(tmp_path / "ledger.db")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(LedgerError, match="upgrade"):
        open_ledger(tmp_path).reserve(NOW, "r2", RESERVED)


def test_whichever_way_the_clock_is_set_no_run_escapes_a_cap(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    ledger.reserve(NOW, "r1", RESERVED)
    for number, at in enumerate((NOW + timedelta(hours=1), NOW, NOW - timedelta(days=40)), start=2):
        ledger.reserve(at, f"r{number}", RESERVED)
    assert [run.reserved_at for run in ledger.runs()] == sorted(
        (NOW - timedelta(days=40), NOW, NOW, NOW + timedelta(hours=1))
    ), "what the clock said is on record"
    counts = {account.run_id: account.at - NOW for account in ledger.accounts()}
    ahead = timedelta(hours=1)
    assert counts == {"r1": timedelta(0), "r2": ahead, "r3": ahead, "r4": ahead}
    # What happened is recorded all the same.
    ledger.append(NOW - timedelta(days=1), "r1", "settled", BODIES["settled"])
    assert ledger.verify() is None


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LedgerError, match="cannot use the ledger"):
        open_ledger(tmp_path / "file" / "home").reserve(NOW, "r1", RESERVED)


def fill(ledger: Ledger) -> None:
    for number in range(1000):
        ledger.reserve(NOW, f"x{number}", {**RESERVED, "padding": "x" * 3000})


def test_a_full_disk_refuses_and_loses_nothing(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    ledger.reserve(NOW, "r1", RESERVED)
    storage = ledger._storage
    connection = storage._open()  # type: ignore[attr-defined]
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LedgerError, match="disk is full"):
        fill(ledger)
    again = open_ledger(tmp_path)
    assert again.verify() is None
    assert again.run("r1") is not None


def test_a_refused_reservation_leaves_no_trace(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    with pytest.raises(RefusedError, match="no more"):
        ledger.reserve(NOW, "r1", RESERVED, lambda accounts, approvals, at: Verdict("no more"))
    assert ledger.runs() == []
    assert ledger.head()[0] == 0


def test_an_admission_sees_open_reservations_of_any_month(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    ledger.reserve(NOW - timedelta(days=90), "old-open", RESERVED)
    to_terminated(ledger, "settled")
    ledger.append(NOW, "settled", "settled", BODIES["settled"])
    seen: dict[str, Decimal] = {}

    def admission(accounts: Any, approvals: Any, at: datetime) -> Verdict:
        seen.update({account.run_id: account.usd for account in accounts})
        return Verdict()

    ledger.reserve(NOW, "new", RESERVED, admission)
    assert seen == {"old-open": Decimal(5), "settled": Decimal("1.5")}


# Exits 0 where another process could lock the whole file, as SQLite's last closer does before it
# removes the write-ahead log.
LOCK = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB)"


def test_a_writer_drops_no_lock_of_a_reader_in_the_same_process(tmp_path: Path) -> None:
    """As threads that measure several machines do: with the lock a reader would lose the log."""
    open_ledger(tmp_path).reserve(NOW, "r1", RESERVED)
    path = tmp_path / "ledger.db"
    reading = SqliteStorage(path).facts()
    next(reading)
    open_ledger(tmp_path).reserve(NOW, "r2", RESERVED)
    other = subprocess.run([sys.executable, "-c", LOCK, str(path)], capture_output=True, text=True)
    assert "BlockingIOError" in other.stderr
    reading.close()  # type: ignore[attr-defined]


def test_a_row_that_was_written_over_is_named_and_no_bug(tmp_path: Path) -> None:
    write(tmp_path, [Made(NOW, 1.0)])
    ledger = open_ledger(tmp_path)
    connection = sqlite3.connect(tmp_path / "ledger.db")
    connection.execute("DROP TRIGGER facts_stay")
    for body in ("{}", "no JSON"):
        connection.execute("UPDATE facts SET body = ? WHERE kind = 'reserved'", (body,))
        connection.commit()
        with pytest.raises(LedgerError, match="row 1 of the ledger makes no sense"):
            ledger.runs()
        with pytest.raises(LedgerError, match="row 1 of the ledger makes no sense"):
            entries(ledger.facts_of_kinds(KINDS))
    connection.close()


def test_open_runs_are_those_of_all_that_are_not_settled(tmp_path: Path) -> None:
    write(tmp_path, many(40, 5, seed=1))
    ledger = open_ledger(tmp_path)
    found = ledger.open_runs()
    assert found == [run for run in ledger.runs() if not run.settled]
    assert len(found) == 3
