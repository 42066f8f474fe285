"""The ledger in a file: damage to it, folders, full disks, locks, and this machine's clock."""

import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mlbroker.broker.ledger import Ledger, LedgerError, open_ledger
from mlbroker.broker.ledger.sqlite import SqliteStorage

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
RESERVED: dict[str, Any] = {
    "job": "j",
    "user": "u",
    "project": None,
    "cap_usd": "5",
    "reserved_usd": "5",
}


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
    ledger.append(NOW - timedelta(days=1), "r1", "settled", {"outcome": "stopped"})
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
