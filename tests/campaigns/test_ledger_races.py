"""Many processes, one ledger: caps under a race, writers that are killed, cut write-ahead logs."""

import os
import random
import shutil
import sqlite3
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.support.campaign import figures, size
from tests.support.forks import count_calls, doom, in_fork, kill_after, wait
from tests.support.policies import judge_by
from tests.support.sim_runs import SimRuns

from mlbroker.broker.errors import RefusedError
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.runs.admission import PolicyAdmission
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.policies.guardrails.interface import Who
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.vendors import Meter

BODY: dict[str, Any] = {
    "job": "j", "user": "u", "project": None, "cap_usd": "1", "reserved_usd": "1",
}  # fmt: skip
# A disk that keeps what it is told makes SQLite wait so many times as long as one that need not;
# memory does not.
WAITS = 2


def now() -> datetime:
    return datetime.now(UTC)


def test_a_race_for_a_shared_cap(tmp_path: Path) -> None:
    racers, rounds, admits = size(40, 200), size(2, 50), 10
    judge = judge_by(f"max_spend_per_day: {admits}", Who("u"))
    bill = Bill(Decimal(1), 1, Meter())
    here = LaunchOption("local", "on-prem", "local", "on_demand", bill)
    with figures("cap-race") as kept:
        for number in range(rounds):
            home = tmp_path / str(number)
            home.mkdir()
            gate_read, gate_write = os.pipe()

            def race(racer: int, home: Path = home, gate: int = gate_read) -> None:
                os.read(gate, 1)
                admission = PolicyAdmission(judge, [here], "j", Decimal(1))
                try:
                    open_ledger(home).reserve(now(), f"r{racer}", BODY, admission)
                except RefusedError:
                    os._exit(3)

            pids = [in_fork(lambda r=r: race(r)) for r in range(racers)]
            os.write(gate_write, b"x" * racers)
            codes = sorted(wait(pid) for pid in pids)
            os.close(gate_read)
            os.close(gate_write)
            assert codes == [0] * admits + [3] * (racers - admits)
            ledger = open_ledger(home)
            assert len(ledger.runs()) == admits
            assert ledger.verify() is None
        kept |= {"processes": racers, "rounds": rounds, "admitted": admits, "lock errors": 0}


def test_writers_that_are_killed_lose_no_acknowledged_row(tmp_path: Path) -> None:
    writers, rows = size(6, 20), size(60, 500)
    home = tmp_path / "home"
    home.mkdir()

    aside = open_ledger(tmp_path)
    calls_a_row = count_calls(lambda: aside.reserve(now(), "r", BODY) and None)

    def write(writer: int, from_row: int, calls: int) -> None:
        ledger = open_ledger(home)
        doom(calls)
        with open(tmp_path / f"acknowledged.{writer}", "ab", buffering=0) as note:
            for row in range(from_row, rows):
                ledger.reserve(now(), f"w{writer}-{row:04}", BODY)
                note.write(f"w{writer}-{row:04}\n".encode())

    def acknowledged(writer: int) -> Sequence[str]:
        path = tmp_path / f"acknowledged.{writer}"
        return path.read_text().splitlines() if path.exists() else []

    chance = random.Random(1)
    kills = 0
    with figures("killed-writers") as kept:
        for _ in range(1000):
            todo = [w for w in range(writers) if len(acknowledged(w)) < rows]
            if not todo:
                break
            known = {run.run_id for run in open_ledger(home).runs()}
            # A row that was kept but not acknowledged is there: go on behind it.
            starts = {
                w: next((r for r in range(rows) if f"w{w}-{r:04}" not in known), rows) for w in todo
            }
            for writer, start in starts.items():
                listed = len(acknowledged(writer))
                if listed < start:
                    with open(tmp_path / f"acknowledged.{writer}", "a") as note:
                        note.writelines(f"w{writer}-{r:04}\n" for r in range(listed, start))
            # Each dies between two calls, within half of its rows; or in one, such as a write to
            # the disk, as others strike at moments of their own.
            pids = []
            for writer, start in starts.items():
                calls = chance.randint(1, calls_a_row * rows // 2)
                pids.append(in_fork(lambda w=writer, s=start, c=calls: write(w, s, c)))
            for pid in pids:
                kills += kill_after(pid, chance.uniform(0.0, 0.04)) == -9
        ledger = open_ledger(home)
        assert ledger.verify() is None
        known = {run.run_id for run in ledger.runs()}
        for writer in range(writers):
            assert set(acknowledged(writer)) <= known
        assert len(known) == writers * rows
        kept |= {"writers": writers, "rows each": rows, "kills": kills, "rows lost": 0}
    assert kills >= writers


def test_a_cut_write_ahead_log_leaves_a_prefix(tmp_path: Path) -> None:
    offsets, rows = size(40, 1000), 40
    home = tmp_path / "home"
    home.mkdir()

    def write() -> None:
        ledger = open_ledger(home)
        for row in range(rows):
            ledger.reserve(now(), f"r{row:03}", BODY)
        os.kill(os.getpid(), 9)

    assert wait(in_fork(write)) == -9
    log = (home / "ledger.db-wal").read_bytes()
    chance = random.Random(2)
    lengths = set()
    with figures("cut-logs") as kept:
        for number in range(offsets):
            cut = tmp_path / f"cut{number}"
            cut.mkdir()
            shutil.copy(home / "ledger.db", cut / "ledger.db")
            (cut / "ledger.db-wal").write_bytes(log[: chance.randint(0, len(log))])
            ledger = open_ledger(cut)
            runs = [run.run_id for run in ledger.runs()]
            assert runs == [f"r{row:03}" for row in range(len(runs))]
            assert ledger.verify() is None
            lengths.add(len(runs))
            shutil.rmtree(cut)
        kept |= {"offsets": offsets, "different lengths": len(lengths), "not a prefix": 0}
    assert len(lengths) > 5


def test_commits_a_second_against_bare_sqlite(tmp_path: Path) -> None:
    """Turn by turn, as whatever else the disk has to do should hit both alike."""
    turns, each = size(6, 40), size(40, 200)
    bare, careless = (_bare(tmp_path / f"{kind}.db", kind) for kind in ("FULL", "OFF"))
    ledger = open_ledger(tmp_path)
    ledger.reserve(now(), "first", BODY)
    ours, theirs, unsynced = [], [], []
    with figures("commits") as kept:
        for turn in range(turns):
            theirs.append(_commits_a_second(bare, turn * each, each))
            unsynced.append(_commits_a_second(careless, turn * each, each))
            began = time.perf_counter()
            for number in range(each):
                # A run has about a dozen facts.
                if number % 12 == 0:
                    run_id = f"r{turn}-{number}"
                    ledger.reserve(now(), run_id, BODY)
                else:
                    ledger.append(now(), run_id, "noted", {"text": "a fact of the usual length"})
            ours.append(each / (time.perf_counter() - began))
        ratio = statistics.median(ours) / statistics.median(theirs)
        kept |= {
            "commits per second": round(statistics.median(ours)),
            "bare SQLite": round(statistics.median(theirs)),
            "ratio": round(ratio, 2),
        }
    if statistics.median(unsynced) < WAITS * statistics.median(theirs):
        pytest.skip("needs a disk that makes writers wait: else it compares Python with C")
    assert ratio >= size(25, 50) / 100


def _bare(path: Path, synchronous: str) -> sqlite3.Connection:
    bare = sqlite3.connect(path, isolation_level=None)
    bare.execute("PRAGMA journal_mode=WAL")
    bare.execute(f"PRAGMA synchronous={synchronous}")
    bare.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)")
    return bare


def _commits_a_second(bare: sqlite3.Connection, first: int, count: int) -> float:
    began = time.perf_counter()
    for number in range(first, first + count):
        bare.execute("BEGIN IMMEDIATE")
        bare.execute("INSERT INTO t VALUES (?, ?)", (number, "x" * 250))
        bare.execute("COMMIT")
    return count / (time.perf_counter() - began)


def test_many_runs_at_once_through_one_ledger(tmp_path: Path) -> None:
    runs, processes = size(24, 1000), size(4, 20)
    home = tmp_path / "home"
    home.mkdir()

    def work(worker: int) -> None:
        for number in range(worker, runs, processes):
            sim = SimRuns(home)
            assert sim.launch(f"r{number:04}").outcome == "succeeded"

    with figures("concurrent-runs") as kept:
        began = time.monotonic()
        pids = [in_fork(lambda w=w: work(w)) for w in range(processes)]
        assert [wait(pid) for pid in pids] == [0] * processes
        took = time.monotonic() - began
        ledger = open_ledger(home)
        assert len(ledger.runs()) == runs
        assert all(run.settled for run in ledger.runs())
        assert ledger.verify() is None
        facts, _ = ledger.head()
        kept |= {
            "runs": runs, "processes": processes, "facts": facts,
            "facts per second": round(facts / took), "lock errors": 0,
        }  # fmt: skip
