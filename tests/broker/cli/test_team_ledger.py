"""The command line with a team's ledger: a run to its end, seen from here and from elsewhere."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.mlbroker import PATIENCE_S, Cli
from tests.support.postgres import Postgres, needs_postgres

from mlbroker.broker.ledger import Ledger, team_storage


@pytest.fixture
def url(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> str:
    url = postgres.url(postgres.database().rpartition("/")[2], password="s3cr3t")
    monkeypatch.setenv("MLBROKER_LEDGER", url)
    return url


def place(folder: Path) -> Cli:
    folder.mkdir()
    return Cli(folder)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@needs_postgres
def test_a_run_from_its_reservation_to_the_report(url: str, tmp_path: Path) -> None:
    ours = place(tmp_path / "ours")
    before = ours("ps")
    assert before.returncode == 1
    assert "mlbroker ledger migrate" in before.stderr
    made = ours("ledger", "migrate", "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["format"] == 1
    assert "s3cr3t" not in made.stdout + made.stderr
    done = ours.run_local(ours.job("env | grep -c s3cr[3]t; echo done"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["0", "done"], "the job is not told the database"
    assert not (ours.home / "ledger.db").exists()
    for path in ours.home.rglob("*"):
        assert not path.is_file() or b"s3cr3t" not in path.read_bytes(), path
    (row,) = json.loads(ours("ps", "--all", "--json").stdout)["runs"]
    assert row["outcome"] == "succeeded"
    assert json.loads(ours("ledger", "--json").stdout)["runs"][0]["run_id"] == row["run_id"]
    verified = json.loads(ours("ledger", "verify", "--json").stdout)
    assert verified["ok"]
    assert verified["facts"] == Ledger(team_storage(url)).head()[0]
    assert "in 1 run" in ours("report").stdout
    assert "127.0.0.1" in ours("doctor").stdout


@needs_postgres
def test_a_run_is_carried_where_it_was_launched(url: str, tmp_path: Path) -> None:
    ours, theirs = place(tmp_path / "ours"), place(tmp_path / "theirs")
    assert ours("ledger", "migrate").returncode == 0
    go_on = tmp_path / "go-on"
    job = ours.job(f"while [ ! -e {go_on} ]; do sleep 0.05; done")
    assert ours.run_local(job, "--detach").returncode == 0
    ledger = Ledger(team_storage(url))
    until(lambda: ledger.runs()[0].state == "running")
    (row,) = json.loads(theirs("ps", "--json").stdout)["runs"]
    assert (row["phase"].startswith("it is carried on "), row["unattended"]) == (True, False)
    assert str(ours.home) in row["phase"]
    found = theirs("reconcile", "--json")
    assert found.returncode == 0, found.stderr
    (finding,) = json.loads(found.stdout)["findings"]
    assert (finding["did"], finding["what"]) == ("elsewhere", row["run_id"])
    logs = theirs("logs")
    assert logs.returncode == 2
    assert "its log is not here" in logs.stderr
    stopped = theirs("stop", row["run_id"])
    assert stopped.returncode == 0, stopped.stderr
    assert "ended there" in stopped.stderr
    # Whoever carries it finds the wish in the ledger; its watchdog knows the ledger as well.
    until(lambda: ledger.runs()[0].settled)
    assert ledger.runs()[0].outcome == "stopped"
    assert ledger.verify() is None
    assert not (theirs.home / "runs").exists()


@needs_postgres
def test_a_client_that_is_killed_is_settled_for_in_the_teams_ledger(
    url: str, tmp_path: Path
) -> None:
    ours = place(tmp_path / "ours")
    assert ours("ledger", "migrate").returncode == 0
    go_on = tmp_path / "go-on"
    job = ours.job(f"while [ ! -e {go_on} ]; do sleep 0.05; done")
    client = ours.start("run", job, "--on", "local", "--budget", "1", "--local-price", "1", "--yes")
    ledger = Ledger(team_storage(url))
    until(lambda: [run.state for run in ledger.runs()] == ["running"])
    client.kill()
    client.communicate()
    go_on.touch()
    until(lambda: ledger.runs()[0].settled)
    assert ledger.runs()[0].outcome == "succeeded"
    assert not (ours.home / "ledger.db").exists()


@needs_postgres
def test_clouds_that_only_others_use_need_not_be_set_up_here(url: str, tmp_path: Path) -> None:
    ours = place(tmp_path / "ours")
    assert ours("ledger", "migrate").returncode == 0
    ledger, now = Ledger(team_storage(url)), datetime.now(UTC)
    body = {"job": "j", "user": "u", "project": None, "cap_usd": "5", "reserved_usd": "5"}
    ledger.reserve(now, "r1", body | {"host": "there", "home": "/home/ada"})
    intent = {
        "attempt": 1, "token": "t", "cloud": "no-such-cloud", "region": "r", "market": "spot",
        "instance_type": "m", "nodes": 1, "price_per_hour_usd": "1", "worst_usd": "4",
        "kill_at": now.isoformat(),
    }  # fmt: skip
    ledger.append(now, "r1", "intended", intent)
    done = ours("reconcile")
    assert done.returncode == 0, done.stderr
    assert "run r1 is intended: it is carried on there, from /home/ada" in done.stderr
    for command in (["metrics"], ["ledger", "export", "--facts"], ["ledger", "--run", "r1"]):
        shown = ours(*command)
        assert shown.returncode == 0, shown.stderr


def test_a_database_that_is_down_launches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLBROKER_LEDGER", "postgresql://ada:s3cr3t@127.0.0.1:1/ledger")
    ours = place(tmp_path / "ours")
    done = ours.run_local(ours.job("touch launched"))
    assert done.returncode == 1
    assert "Nothing is launched without it" in done.stderr
    assert "s3cr3t" not in done.stdout + done.stderr
    assert not (ours.folder / "launched").exists()
    doctor = ours("doctor")
    assert doctor.returncode == 1
    assert "cannot use the ledger" in doctor.stdout
    monkeypatch.setenv("MLBROKER_LEDGER", "mysql://ada:s3cr3t@db")
    wrong = ours("ps")
    assert wrong.returncode == 2
    assert "s3cr3t" not in wrong.stderr
