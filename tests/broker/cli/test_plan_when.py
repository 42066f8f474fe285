"""`mlbroker plan --when` as a process: the document, the words, and what is refused."""

import json
import re
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.support.cli import mlbroker

JOB = """\
name: bert-ft
resources: {cpus: 2+, memory: 8+}
run: python train.py
broker:
  deadline: 24h
  work: {steps: 12000, hours: 2.8, on: m5.xlarge}
"""
SCHEMA = json.loads(files("mlbroker.broker").joinpath("schemas/plan.json").read_text())
HEAD = "time,zone,gco2e_per_kwh\n"


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(JOB)
    return path


def grid(path: Path, zone: str, dirty: float, clean: float, hours: int = 48) -> Path:
    """A series from two hours ago on whose sixth to eleventh hours from now are clean."""
    began = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    rows = (
        f"{(began + timedelta(hours=h)).isoformat()},{zone},{clean if 6 <= h < 11 else dirty}\n"
        for h in range(-2, hours)
    )
    path.write_text(HEAD + "".join(rows))
    return path


def when(*args: str | Path, home: Path) -> dict[str, Any]:
    done = mlbroker("plan", *args, "--top", "1", "--json", home=home)
    assert done.returncode == 0, done.stderr
    plan: dict[str, Any] = json.loads(done.stdout)
    jsonschema.validate(plan, SCHEMA)
    found: dict[str, Any] = plan["when"]
    return found


def test_the_cleanest_hours_of_the_cleanest_region(job: Path, home: Path, tmp_path: Path) -> None:
    germany = grid(tmp_path / "de.csv", "DE", 400, 200)
    sweden = grid(tmp_path / "se.csv", "SE", 20, 10)
    found = when(
        job, "--cloud", "aws", "--when", "--intensity", germany, "--intensity", sweden, home=home
    )
    assert found["signal"] == "average"
    assert found["untold"] == []
    assert [start["region"] for start in found["regions"]] == ["eu-north-1", "eu-central-1"]
    for start in found["regions"]:
        begins = datetime.fromisoformat(start["start_at"])
        assert 5 < (begins - datetime.now(UTC)).total_seconds() / 3600 < 11
        assert start["start_at"] <= start["latest_start_at"]
        # The run takes less than the five clean hours.
        assert start["expected_h"] < 5
        assert start["saved_share"] == pytest.approx(0.5)
        assert start["covered_share"] == pytest.approx(1)
        assert start["carbon_kgco2e"] == pytest.approx(start["now_carbon_kgco2e"] / 2)
    # The choice stands in neither region.
    assert found["choice"] is None
    assert "no series was given" in found["choice_not_shifted"]


def test_the_choice_too_and_in_words(job: Path, home: Path, tmp_path: Path) -> None:
    series = grid(tmp_path / "any.csv", "somewhere", 400, 100)
    asked = ("--region", "us-east-1", "--market", "on_demand", "--when")
    found = when(job, *asked, "--intensity", f"aws/us-east-1={series}", home=home)
    choice = found["choice"]
    assert choice["region"] == "us-east-1"
    assert choice["saved_share"] == pytest.approx(0.75)
    # The least carbon emits no more than the choice, and costs no less.
    best = found["regions"][0]
    assert best["carbon_kgco2e"] <= choice["carbon_kgco2e"]
    assert float(best["cost_usd"]) >= float(choice["cost_usd"])
    done = mlbroker(
        "plan", job, "--market", "on_demand", "--when", "--intensity",
        grid(tmp_path / "se.csv", "SE", 40, 10), home=home,
    )  # fmt: skip
    assert "Where and when for least carbon, by the average of the grid" in done.stdout
    assert "75% less than now" in done.stdout
    explained = mlbroker(
        "plan", job, "--explain", "m5.xlarge", "--when", "--intensity", tmp_path / "se.csv",
        home=home,
    )  # fmt: skip
    assert "Least carbon: " in explained.stdout
    assert " more than the choice." in done.stdout
    assert "The choice has no start: no series was given for" in done.stdout


def test_what_has_no_start_says_why(job: Path, home: Path, tmp_path: Path) -> None:
    past = grid(tmp_path / "de.csv", "DE", 400, 200, hours=0)
    found = when(job, "--cloud", "aws", "--when", "--intensity", past, home=home)
    assert found["regions"] == []
    assert found["untold"][0]["place"] == "aws/eu-central-1"
    assert "no whole window" in found["untold"][0]["why"]
    done = mlbroker("plan", job, "--when", "--intensity", past, home=home)
    assert "No start in aws/eu-central-1, azure/germanynorth, " in done.stdout


def test_a_series_that_ends_before_the_deadline_says_so(
    job: Path, home: Path, tmp_path: Path
) -> None:
    short = grid(tmp_path / "de.csv", "DE", 400, 200, hours=13)
    found = when(job, "--cloud", "aws", "--when", "--intensity", short, home=home)
    assert 0.49 < found["regions"][0]["covered_share"] < 0.55
    done = mlbroker("plan", job, "--cloud", "aws", "--when", "--intensity", short, home=home)
    assert re.search(r"de\.csv covers 5\d% of the time to the deadline", done.stdout)


def test_spot_that_falls_back_is_not_shifted(job: Path, home: Path, tmp_path: Path) -> None:
    job.write_text(
        JOB.replace("deadline: 24h", "deadline: 24h\n  checkpoint: {path: ckpt/, every: 10m}")
    )
    series = grid(tmp_path / "any.csv", "x", 400, 100)
    found = when(
        job, "--region", "us-west4", "--when", "--intensity", f"gcp/us-west4={series}", home=home
    )
    assert found["choice"] is None
    assert "waits for spot machines" in found["choice_not_shifted"]
    assert found["regions"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--when"], "needs a series"),
        (["--intensity", "de.csv"], "has no effect without --when"),
        (["--when", "--intensity", "gone.csv"], "there is no such file"),
        (["--when", "--intensity", "aws/us-east-11=de.csv"], "not in the price book"),
        (["--when", "--intensity", "de.csv", "--intensity", "de.csv"], "two series for"),
        (["--when", "--intensity", "de.csv", "--intensity", "aws/us-east-1=moer.csv"],
         "tell different things"),
        (["--when", "--intensity", "moer.csv"], "names no zone"),
        (["--when", "--intensity", "odd.csv"], "no region is known"),
        (["--cloud", "gcp", "--region", "us-west1", "--when", "--intensity", "de.csv"],
         "none of the series is of a region that this plan looks at"),
        (["--when", "--intensity", "aws/us-east-1=both.csv"], "has 2 zones"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_refused(
    job: Path, home: Path, tmp_path: Path, args: list[str], said: str
) -> None:
    de = grid(tmp_path / "de.csv", "DE", 400, 200).read_text()
    (tmp_path / "odd.csv").write_text(de.replace(",DE,", ",\x1b[31mOdd,"))
    (tmp_path / "both.csv").write_text(de + de.replace(",DE,", ",FR,").removeprefix(HEAD))
    (tmp_path / "moer.csv").write_text(
        "timestamp,MOER\n2026-11-29 00:00:00+00:00,466\n2026-11-29 00:05:00+00:00,426\n"
    )
    done = mlbroker("plan", job, *args, home=home, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("  deadline: 24h\n", ""), "without a deadline"),
        (("  work: {steps: 12000, hours: 2.8, on: m5.xlarge}\n", ""), "nobody knows how long"),
    ],
)
def test_a_job_without_a_deadline_or_a_known_duration(
    job: Path, home: Path, tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    job.write_text(JOB.replace(*change))
    series = grid(tmp_path / "de.csv", "DE", 400, 200)
    done = mlbroker("plan", job, "--when", "--intensity", series, home=home)
    assert done.returncode == 2
    assert said in done.stderr
