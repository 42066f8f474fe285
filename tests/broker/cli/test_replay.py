"""`mlbroker replay`: its contract, and traces that are not what they should be."""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from click.testing import Result
from typer.testing import CliRunner

from mlbroker.broker.backtest.trace import region_of
from mlbroker.broker.cli import build_app
from mlbroker.broker.errors import InputError, NothingFeasible
from mlbroker.policies.spot import POLICIES

SCHEMA = json.loads(files("mlbroker.broker").joinpath("schemas/replay.json").read_text())
HEAD = "time_s,zone,available,spot_price_per_hour_usd"
JOB = ("--work-h", "1", "--deadline-h", "1.5", "--on-demand-price-per-hour-usd", "2")


def write(folder: Path, lines: Sequence[str], head: str = HEAD) -> Path:
    path = folder / "trace.csv"
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


def usual(folder: Path, ticks: int = 60) -> Path:
    """Two zones at every five minutes, one of them away for a while."""
    lines = []
    for tick in range(ticks):
        away = ticks // 3 < tick < ticks // 2
        lines += [f"{tick * 300},us-west-2a,{int(not away)},0.5", f"{tick * 300},us-west-2b,1,0.9"]
    return write(folder, lines)


def replay(trace: Path, *options: str) -> Result:
    return CliRunner().invoke(build_app(["replay"]), ["replay", str(trace), *JOB, *options])


def test_json_follows_its_schema_for_every_policy(tmp_path: Path) -> None:
    result = replay(usual(tmp_path), "--compare", "--starts", "3", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    jsonschema.validate(told, SCHEMA)
    assert set(told["summary"]) == set(POLICIES)
    assert len(told["runs"]) == 3 * len(POLICIES)
    assert told["zones"] == ["us-west-2a", "us-west-2b"]
    for total in told["summary"].values():
        assert total["misses"] == 0
        assert total["cost_vs_clairvoyant"] >= 1
    assert told["summary"]["on-demand"]["cost_vs_on_demand"] == 1
    # 1.05 h at 0.5 USD, as one zone is there all the time or until it is done.
    assert told["summary"]["auto"]["cost_vs_on_demand"] < 0.5


def test_the_same_seed_draws_the_same_starts(tmp_path: Path) -> None:
    trace = usual(tmp_path)
    one, same, other = (
        json.loads(replay(trace, "--policy", "greedy", "--json", "--seed", seed).stdout)
        for seed in ("1", "1", "2")
    )
    assert one == same
    assert one != other


def test_the_table_says_what_could_be_had_and_what_it_cost(tmp_path: Path) -> None:
    result = replay(usual(tmp_path), "--zone", "us-west-2a", "--policy", "greedy", "--starts", "2")
    assert result.exit_code == 0
    assert "us-west-2a 85%" in result.stderr
    assert "Played from 2 moments" in result.stderr
    assert "greedy" in result.stdout


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["0,a,1,0.5", "300,a,yes,0.5"], "line 3: available is 'yes', not 0 or 1"),
        (["0,a,1,0.5", "300,a,1,-1"], "line 3: spot_price_per_hour_usd is '-1'"),
        (["0,a,1,0.5", "300,a,1,nan"], "line 3: spot_price_per_hour_usd is 'nan'"),
        (["0,a,1,0.5", "300,a,1,"], "line 3: a machine is available, and no price is given"),
        (["0,a,0,0.5", "300,a,1,"], "the column seems to be inverted"),
        (["x,a,1,0.5", "300,a,1,1"], "line 2: time_s is 'x'"),
        (["0,a,1,0.5", "300,,1,1"], "line 3: the zone has no name"),
        (["0,a,1,", "300,a,1,"], "no spot prices"),
        (["0,a,1,0.5", "300,a,1,0.5"], "lasts 0.1667 h, and the deadline is after 1.5 h"),
        (["0,a,1,0.5", "0,b,1,0.5"], "one moment only"),
        ([], "the trace is empty"),
    ],
)
def test_a_trace_that_cannot_be_played_says_where_and_why(
    lines: list[str], said: str, tmp_path: Path
) -> None:
    result = replay(write(tmp_path, lines))
    assert isinstance(result.exception, InputError)
    assert said in str(result.exception)


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = replay(write(tmp_path, ["0,1"], head="time_s,available"))
    assert "there is no column zone" in str(result.exception)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--policy", "autp"), "did you mean auto"),
        (("--zone", "us-west-2c"), "no zone 'us-west-2c'"),
        (("--restart-overhead-s", "-1"), "--restart-overhead-s"),
        (("--egress-per-gb-usd", "nan"), "--egress-per-gb-usd"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    options: tuple[str, str], said: str, tmp_path: Path
) -> None:
    result = replay(usual(tmp_path), *options)
    assert isinstance(result.exception, InputError)
    assert said in str(result.exception)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--restart-overhead-s", "1801"), "on demand from the beginning it takes 1.5 h"),
        (("--budget", "2.09"), "on demand from the beginning it costs 2.1 USD"),
    ],
)
def test_what_on_demand_cannot_keep_is_infeasible(
    options: tuple[str, str], said: str, tmp_path: Path
) -> None:
    result = replay(usual(tmp_path), *options)
    assert isinstance(result.exception, NothingFeasible)
    assert said in str(result.exception)


def test_what_is_assumed_of_a_trace_is_said(tmp_path: Path) -> None:
    lines = [f"{tick * 300},a,1,{3 if tick < 10 else 0.5}" for tick in range(40)]
    lines += ["0,b,1,0.5", "13,b,1,0.5"]
    result = replay(write(tmp_path, lines), "--policy", "greedy", "--restart-overhead-s", "600")
    assert result.exit_code == 0, result.exception
    heard = " ".join(result.stderr.split())
    assert "spot costs more than on demand" in heard
    assert "39 of 80 looks are not in the trace" in heard
    assert "times are uneven, and taken to be 300 s apart" in heard
    assert "a restart takes 2.0 looks" in heard


def test_a_trace_without_prices_takes_one_for_all(tmp_path: Path) -> None:
    lines = [f"{tick * 300},a,1" for tick in range(40)]
    trace = write(tmp_path, lines, head="time_s,zone,available")
    result = replay(trace, "--policy", "greedy", "--spot-price-per-hour-usd", "0.6", "--json")
    (run, *_) = json.loads(result.stdout)["runs"]
    assert run["cost_usd"] == pytest.approx(1.05 * 0.6)


def test_the_page_shows_each_policys_first_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlbroker.broker.report.page.chart_library", lambda: "// charts")
    drawn = tmp_path / "runs.html"
    result = replay(usual(tmp_path), "--compare", "--starts", "2", "--html", str(drawn))
    assert result.exit_code == 0, result.exception
    page = drawn.read_text()
    # Two for all of them together, of cost and of slack.
    assert page.count("<figure ") == 2 + len(POLICIES)
    # An hour of work and the start at 2 USD; at 0.5 it is a quarter, which nobody quite reaches.
    assert "2.10 USD, 4.03 times the least possible, done after 1.05 h, 0 restarts" in page
    cells = ["<td>on demand</td>"] * 2 + [
        f'<td class="number">{at}</td>' for at in ("0.00 h", "1.05 h")
    ]
    assert "".join(cells) in page
    nowhere = replay(usual(tmp_path), "--html", str(tmp_path / "no" / "runs.html"))
    assert "cannot be written" in str(nowhere.exception)


@pytest.mark.parametrize(
    ("zone", "region"),
    [
        ("us-west-2a", "us-west-2"), ("us-central1-b", "us-central1"), ("eastus-1", "eastus"),
        ("rack", "rack"),
    ],
)  # fmt: skip
def test_a_zones_name_tells_its_region(zone: str, region: str) -> None:
    assert region_of(zone) == region
