"""`mlbroker spot show` as a user calls it."""

import json
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import Result
from tests.support.indexed import indexed
from tests.support.spot_ledgers import Try, write
from typer.testing import CliRunner

from mlbroker.broker.cli import build_app
from mlbroker.broker.errors import InputError
from mlbroker.broker.prices import shortages
from mlbroker.broker.prices.shortages import Shortage
from mlbroker.policies.spot.beliefs import band_factor

SCHEMA = json.loads(files("mlbroker.broker").joinpath("schemas/spot.json").read_text())
UNPUBLISHED = "Standard_NC24ads_A100_v4"  # Azure's


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLBROKER_HOME", str(tmp_path))
    return indexed(tmp_path)


def show(*words: str) -> Result:
    return CliRunner().invoke(build_app(["spot"]), ["spot", "show", *words])


def told(*words: str) -> dict[str, Any]:
    result = show(*words, "--json")
    assert result.exit_code == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    jsonschema.validate(document, SCHEMA)
    return document


@pytest.mark.usefixtures("home")
def test_without_a_past_the_published_share_is_believed_and_the_cheapest_is_first() -> None:
    places = told("g5.xlarge")["places"]
    prices = [float(row["price_per_hour_usd"]) for row in places]
    assert prices == sorted(prices)
    assert len(places) > 10
    for row in places:
        assert row["zone"] is None
        assert row["last_shortage_at"] is None
        assert row["own"]["of_type"]["machines"] == 0
        factor = band_factor(row["interruption_rate"])
        assert row["believed"]["preemption_factor"] == pytest.approx(factor, rel=1e-3)
    listed = show("g5.xlarge")
    assert len(listed.stdout.splitlines()) == 1 + 10
    assert max(map(len, listed.stdout.splitlines())) <= 80
    assert "taken" not in listed.stdout
    assert f"{len(places) - 10} more regions: name one with --region" in listed.stderr
    assert "band: how many of such machines are taken in a month" in listed.stderr


@pytest.mark.usefixtures("home")
def test_what_nobody_publishes_is_said_to_be_unknown() -> None:
    document = told(UNPUBLISHED)
    assert {row["interruption_rate"] for row in document["places"]} == {None}
    assert {row["believed"]["published_factor"] for row in document["places"]} == {1.0}
    listed = show(UNPUBLISHED)
    assert "unknown" in listed.stdout
    assert "V100" in listed.stdout
    assert "V100: nobody publishes it; the rates of recorded V100 machines" in listed.stderr
    without_gpu = show("Standard_D4s_v5")
    assert "V100/4" in without_gpu.stdout
    assert "a quarter of the rates of recorded V100 machines" in without_gpu.stderr


def test_own_runs_are_listed_first_and_move_what_is_believed(home: Path) -> None:
    before = {row["region"]: row["believed"] for row in told("g5.xlarge")["places"]}
    write(
        home,
        Try(0, "preempted", 2),
        Try(10, "preempted", 1),
        Try(20, "finished", 30, zone="us-east-1b"),
        Try(60, "no_capacity"),
        Try(60.5, "no_capacity"),
        Try(61, "finished", 1),
    )
    places = told("g5.xlarge")["places"]
    names = [row["zone"] or row["region"] for row in places[:3]]
    assert names == ["us-east-1", "us-east-1a", "us-east-1b"]
    region, first, second = (row["own"]["here"] for row in places[:3])
    assert (region["machines"], region["hours"], region["taken"]) == (4, 34, 2)
    assert (first["machines"], first["taken"], first["outages_ended"]) == (3, 2, 1)
    assert (second["machines"], second["taken"], second["outages"]) == (1, 0, 0)
    lives = [row["believed"]["life_h"] for row in places[:3]]
    assert lives[1] < lives[0]
    assert lives[1] < lives[2]
    assert lives[0] < before["us-east-1"]["life_h"]
    assert places[1]["last_shortage_at"] == "2026-11-04T00:30:00+00:00"

    listed = show("g5.xlarge")
    assert "2 in 34h" in listed.stdout
    assert "own+band" in listed.stdout
    assert "type+band" in listed.stdout
    assert max(map(len, listed.stdout.splitlines())) <= 80
    assert "Asked for in vain last: aws us-east-1a, 2026-11-04 00:30 UTC." in listed.stderr
    assert "(1 of 1 outage seen to end)" in listed.stderr


def test_a_shortage_of_a_moment_ago_counts_as_seen(home: Path) -> None:
    at = datetime.now(UTC) - timedelta(minutes=5)
    place = ("aws", "us-west-2", None, "g5.xlarge", True)
    shortages.remember(home, Shortage(*place, at, "InsufficientInstanceCapacity"))
    first = told("g5.xlarge")["places"][0]
    assert first["region"] == "us-west-2"
    assert first["last_shortage_at"] == at.isoformat(timespec="seconds")


def test_a_place_that_is_not_in_the_price_book_is_shown_without_a_price(home: Path) -> None:
    write(home, Try(0, "finished", 2, region="mars-1", zone="mars-1a"))
    places = told("g5.xlarge")["places"]
    assert [row["region"] for row in places[:2]] == ["mars-1", "mars-1"]
    assert {row["price_per_hour_usd"] for row in places[:2]} == {None}
    assert "unknown" in show("g5.xlarge").stdout


@pytest.mark.usefixtures("home")
def test_cloud_and_region_leave_the_others_out() -> None:
    places = told("g5.xlarge", "--region", "us-east-1", "--region", "us-west-2")["places"]
    assert {row["region"] for row in places} == {"us-east-1", "us-west-2"}
    assert told("g5.xlarge", "--cloud", "gcp")["places"] == []
    assert "not sold on spot there" in show("g5.xlarge", "--cloud", "gcp").stderr


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("words", "says", "hint"),
    [
        (("g5.xlrge",), "unknown machine type 'g5.xlrge'", "g5.xlarge"),
        (("g5.xlarge", "--region", "us-east-11"), "'us-east-11' is not in", "us-east-1"),
        (("g5.xlarge", "--cloud", "awss"), "'awss' is not in the price book", "aws"),
    ],
)
def test_a_name_that_nobody_knows_is_refused_with_the_nearest(
    words: tuple[str, ...], says: str, hint: str
) -> None:
    error = show(*words).exception
    assert isinstance(error, InputError)
    assert error.exit_code == 2
    assert says in error.what
    assert hint in (error.hint or "")
