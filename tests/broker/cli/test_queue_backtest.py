"""`mlbroker queue backtest` as a user calls it."""

import gzip
from pathlib import Path

import pandas as pd
import pytest
from tests.support.backtest_cli import BacktestCli
from tests.support.queues import trace

from mlbroker.policies.queue import POLICIES

CLI = BacktestCli("queue", "queue-backtest.json")
run, told, refused = CLI.run, CLI.told, CLI.refused
HEAD = "submit_s,gpus,duration_s,vc"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [f"{j.submit_s:.0f},{j.places},{j.duration_s:.0f},{j.team}" for j in trace(1)]
    return write(tmp_path, HEAD, *rows)


def write(folder: Path, *lines: str) -> Path:
    path = folder / "jobs.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_policy_side_by_side_on_eighty_columns(table: Path) -> None:
    document = told(table, "--compare", "--places", 16, "--cloud-usd-per-gpu-h", 3.06)
    assert list(document["summary"]) == list(POLICIES)
    assert document["drawn"] == ["deadline_s", "value_usd_per_h", "predicted_s", "preemptible"]
    assert {row["team"] for row in document["teams"]} == {"a", "b"}
    for name, total in document["summary"].items():
        mine = [row for row in document["teams"] if row["policy"] == name]
        assert sum(row["waiting_usd"] for row in mine) == pytest.approx(total["waiting_usd"], abs=1)
        assert sum(row["jobs"] for row in mine) == document["jobs"] == 150
    cost = {
        name: row["waiting_usd"] + row["cloud_usd"] for name, row in document["summary"].items()
    }
    assert cost["auto"] == min(cost.values())
    shown = run(table, "--compare", "--places", 16)
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["policy", *POLICIES]
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "Drawn with seed 0, as the table lacks it: deadline_s" in shown.stderr


def test_the_seed_draws_and_the_load_gives_the_places(table: Path) -> None:
    first = told(table, "--seed", 1)
    assert first == told(table, "--seed", 1)
    assert first["summary"] != told(table, "--seed", 2)["summary"]
    assert first["places"] > told(table, "--load", 2)["places"]


def test_columns_that_are_there_are_taken(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        f"{HEAD},deadline_s,value_usd_per_h,predicted_s,preemptible",
        "0,1,3600,a,,2,3600,0",
        "0,1,3600,a,9000,4,,1",
    )
    document = told(path, "--places", 1, "--policy", "fifo")
    assert document["drawn"] == []
    total = document["summary"]["fifo"]
    assert total["waiting_usd"] == 4.0
    assert total["deadline_hit_rate"] == 1.0
    assert total["mean_wait_h"] == 0.5
    assert told(path, "--places", 1)["summary"]["auto"]["waiting_usd"] == 2.0


def test_gzip_and_parquet_tell_the_same(table: Path) -> None:
    packed = table.with_suffix(".csv.gz")
    packed.write_bytes(gzip.compress(table.read_bytes()))
    parquet = table.with_suffix(".parquet")
    pd.read_csv(table).to_parquet(parquet)
    assert told(packed) == told(table) == told(parquet)


def test_a_gang_larger_than_the_site_is_said(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD, "0,8,3600,a", "60,1,3600,a")
    result = run(path, "--places", 4)
    assert "1 gang larger than the site's 4 places: they never run" in result.stderr
    assert "Never ran: 1." in result.stderr
    assert told(path, "--places", 4)["summary"]["auto"]["refused"] == 1
    rented = told(path, "--places", 4, "--cloud-usd-per-gpu-h", 3)["summary"]["auto"]
    assert rented["refused"] == 0
    assert rented["cloud_usd"] == 28.0


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("-1,1,60,a,,1", "submit_s"),
        ("nan,1,60,a,,1", "submit_s"),
        ("0,0,60,a,,1", "gpus"),
        ("0,1.5,60,a,,1", "gpus"),
        ("0,1,0,a,,1", "duration_s"),
        ("0,1,inf,a,,1", "duration_s"),
        ("0,1,,a,,1", "duration_s"),
        ("0,1,60,a,soon,1", "deadline_s"),
        ("0,1,60,a,,-1", "value_usd_per_h"),
        ("0,1,60,a,,inf", "value_usd_per_h"),
        ("0,1,60,a,,nan", "value_usd_per_h"),
        ("0,1,60,a,,", "value_usd_per_h"),
        ("0,1,60,a", "value_usd_per_h"),
    ],
)
def test_a_bad_cell_is_named_by_file_line_and_column(tmp_path: Path, row: str, column: str) -> None:
    path = write(tmp_path, f"{HEAD},deadline_s,value_usd_per_h", "0,1,60,a,,1", row)
    assert refused(path).where == f"{path}, line 3, column {column}"


def test_a_deadline_before_the_submission_is_a_miss(tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEAD},deadline_s", "100,1,60,a,50", "100,1,60,a,500")
    result = run(path)
    assert "1 deadline before the job's submission" in result.stderr
    assert told(path)["summary"]["auto"]["deadline_hit_rate"] == 0.5


def test_tables_and_options_that_cannot_be(table: Path, tmp_path: Path) -> None:
    assert "no column vc" in str(refused(write(tmp_path, "submit_s,gpus,duration_s", "0,1,60")))
    assert "has no jobs" in str(refused(write(tmp_path, HEAD)))
    assert "two columns gpus" in str(refused(write(tmp_path, f"{HEAD},gpus", "0,1,60,a,1")))
    assert "no such file" in str(refused(tmp_path / "none.csv"))
    rows = write(tmp_path, HEAD, "0,1,60,a")
    for words in (
        ("--policy", "aut"), ("--places", 0), ("--load", 0), ("--restart-s", "nan"),
        ("--days", "3"), ("--days", "3:2"), ("--days", "3:4"), ("--cloud-usd-per-gpu-h", "inf"),
        ("--preemptible-share", 2), ("--sigma", -1),
    ):  # fmt: skip
        assert refused(rows, *words).where == words[0]
