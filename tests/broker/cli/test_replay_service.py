"""`mlbroker replay TRACE JOB` of a service: its contract, and odd traces."""

import gzip
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from click.testing import Result
from typer.testing import CliRunner

from mlbroker.broker.cli import build_app
from mlbroker.broker.errors import InputError, MlbrokerError, NothingFeasible
from mlbroker.policies.service import POLICIES

SCHEMA = json.loads(files("mlbroker.broker").joinpath("schemas/service-replay.json").read_text())
JOB = "service: {replica_policy: {min_replicas: 1, max_replicas: 50}}\nrun: serve\n"
TERMS = ("--capacity-rps", "10", "--price-per-hour-usd", "1", "--cap-usd", "40")


def job_file(folder: Path, text: str = JOB) -> Path:
    path = folder / "service.yaml"
    path.write_text(text)
    return path


def write(folder: Path, lines: Sequence[str], head: str = "time_s,requests") -> Path:
    path = folder / "requests.csv"
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


def usual(folder: Path) -> Path:
    return write(folder, [f"{at * 600},{6000 * (5 if at > 30 else 1)}" for at in range(60)])


def replay(trace: Path, job: Path, *options: str) -> Result:
    return CliRunner().invoke(
        build_app(["replay"]), ["replay", str(trace), str(job), *(options or TERMS)]
    )


def refused(folder: Path, lines: Sequence[str], head: str = "time_s,requests") -> MlbrokerError:
    result = replay(write(folder, lines, head), job_file(folder))
    assert isinstance(result.exception, MlbrokerError), result.output
    return result.exception


def test_json_follows_its_schema_for_every_policy(tmp_path: Path) -> None:
    result = replay(usual(tmp_path), job_file(tmp_path), *TERMS, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    jsonschema.validate(told, SCHEMA)
    assert set(told["summary"]) == set(POLICIES)
    assert told["requests"] == 31 * 6000 + 29 * 30_000
    auto = told["summary"]["auto"]
    assert auto["spend_over_cap"] <= 1
    assert auto["overspend_usd"] == auto["dark_hours"] == 0
    assert auto["served_in_time"] + auto["shed"] == pytest.approx(1)
    assert auto["served_in_time"] <= told["bound"]["served_in_time"] <= 1
    assert auto["spend_usd"] == pytest.approx(40 * auto["spend_over_cap"])


def test_one_policy_and_a_table_for_people(tmp_path: Path) -> None:
    result = replay(usual(tmp_path), job_file(tmp_path), *TERMS, "--policy", "fixed-max")
    assert result.exit_code == 0
    assert "fixed-max" in result.output
    assert "until-broke" not in result.output
    wrong = replay(usual(tmp_path), job_file(tmp_path), *TERMS, "--policy", "fixed-min")
    assert isinstance(wrong.exception, InputError)
    assert "did you mean fixed-max?" in str(wrong.exception)


def test_capacity_cap_and_limits_may_stand_in_the_job_file(tmp_path: Path) -> None:
    text = (
        "service: {replica_policy: {min_replicas: 2, max_replicas: 9, target_qps_per_replica: 5}}\n"
        "run: serve\nbroker: {service: {budget: {month: 30 USD}, objective: {ttft: 300ms},"
        " over_cap: {queue: 4s}}}\n"
    )
    result = replay(
        usual(tmp_path), job_file(tmp_path, text), "--price-per-hour-usd", "1", "--json"
    )
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["capacity_rps"], told["cap_usd"], told["queue_s"]) == (5, 30, 0.3)
    assert told["replicas"] == {"least": 2, "most": 9}
    assert "the objective of 0.3 s" in result.stderr


def test_a_row_a_request(tmp_path: Path) -> None:
    lines = [f"{at / 10},{100 + at % 7},{at % 5}" for at in range(6000)]
    trace = write(tmp_path, lines, "time_s,input_tokens,output_tokens")
    told = json.loads(replay(trace, job_file(tmp_path), *TERMS, "--json").stdout)
    assert told["requests"] == 6000
    assert told["hours"] == pytest.approx(600 / 3600, abs=1e-6)
    assert told["summary"]["none"]["served_in_time"] == pytest.approx(1)


def test_rates_of_several_services(tmp_path: Path) -> None:
    path = tmp_path / "rates.csv.gz"
    lines = [f"{name},{at * 600},{rate}" for name, rate in (("a", 5), ("b", 7))
             for at in range(30) if at not in (7, 8)]  # fmt: skip
    lines[3] = "a,1800,0"
    with gzip.open(path, "wt") as file:
        file.write("\n".join(["service,time_s,requests_per_s", *lines]))
    result = replay(path, job_file(tmp_path), *TERMS, "--service", "a", "--json")
    assert json.loads(result.stdout)["requests"] == pytest.approx(30 * 600 * 5)
    assert "2 gaps of 0.5 h in all" in result.stderr
    several = replay(path, job_file(tmp_path), *TERMS)
    assert "--service NAME picks one" in str(several.exception)
    other = replay(path, job_file(tmp_path), *TERMS, "--service", "c")
    assert "there is no service 'c'" in str(other.exception)


def test_gaps_are_said_and_read_as_no_requests(tmp_path: Path) -> None:
    lines = [f"{at * 600},600" for at in range(30) if at not in (7, 8, 20)]
    result = replay(write(tmp_path, lines), job_file(tmp_path), *TERMS, "--json")
    told = json.loads(result.stdout)
    assert told["requests"] == 27 * 600
    assert told["hours"] == 5
    assert "2 gaps of about 0.5 h in all: read as no requests" in result.stderr


@pytest.mark.parametrize(
    ("lines", "what", "where"),
    [
        ([], "no rows", "requests.csv"),
        (["0,0", "600,0"], "no requests", "requests.csv"),
        (["0,5"], "one row alone has no span", "requests.csv"),
        (["0,5", "600,5", "300,5"], "goes back: 300 after 600", "line 4, column time_s"),
        (["0,5", "600,5", "600,5"], "comes twice", "line 4, column time_s"),
        (["0,5", "600,-5"], "'-5' is not a number of zero or more", "line 3, column requests"),
        (["-600,5", "0,5"], "'-600' is not a number", "line 2, column time_s"),
        (["0,5", "600,nan"], "'nan' is not a number", "line 3, column requests"),
        (["0,5", "600"], "the cell is missing", "line 3, column requests"),
        (["0,5", "600000000,5"], "are they milliseconds?", "column time_s"),
        (["0,5", "60000,5", "120000,5"], "are the times milliseconds?", "column time_s"),
        (["1700000000000,5", "1700000060000,5"], "are they milliseconds?", "column time_s"),
    ],
)  # fmt: skip
def test_traces_that_are_none(lines: list[str], what: str, where: str, tmp_path: Path) -> None:
    error = refused(tmp_path, lines)
    assert error.exit_code == 2
    assert what in str(error)
    assert where in str(error)


def test_other_columns(tmp_path: Path) -> None:
    assert "not the columns of a trace" in str(refused(tmp_path, ["1,2"], "minute,tokens"))
    assert "two columns requests" in str(refused(tmp_path, ["1,2,3"], "time_s,requests,requests"))


def test_a_cap_below_the_fewest_replicas_names_the_least_that_would_do(tmp_path: Path) -> None:
    text = JOB.replace("min_replicas: 1", "min_replicas: 5")
    result = replay(usual(tmp_path), job_file(tmp_path, text))
    assert isinstance(result.exception, NothingFeasible)
    assert "the fewest replicas (5) cost 50.00 USD all the time, and the cap is 40.00" in str(
        result.exception
    )
    exact = [*TERMS[:-1], "50"]
    assert replay(usual(tmp_path), job_file(tmp_path, text), *exact).exit_code == 0


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (TERMS[2:], "how many requests a second a replica serves is not said"),
        (TERMS[:2] + TERMS[4:], "what an hour of a replica costs is not said"),
        (TERMS[:4], "what a month may cost is not said"),
        ((*TERMS[:-1], "-3"), "-3 is not a number above zero"),
        ((*TERMS[:-1], "nan"), "nan is not a number above zero"),
        ((*TERMS, "--boot-s", "-1"), "-1 is not from 0 to a day"),
        ((*TERMS, "--work-h", "3"), "has no effect on a service"),
    ],
)  # fmt: skip
def test_options_that_cannot_be(options: tuple[str, ...], what: str, tmp_path: Path) -> None:
    result = replay(usual(tmp_path), job_file(tmp_path), *options)
    assert isinstance(result.exception, InputError)
    assert what in str(result.exception)


def test_what_is_no_service_and_what_needs_one(tmp_path: Path) -> None:
    job = replay(usual(tmp_path), job_file(tmp_path, "run: python train.py\n"))
    assert "is no service" in str(job.exception)
    alone = CliRunner().invoke(
        build_app(["replay"]), ["replay", str(usual(tmp_path)), "--cap-usd", "5"]
    )
    assert "has no effect without the JOB file of a service" in str(alone.exception)
    bare = CliRunner().invoke(build_app(["replay"]), ["replay", str(usual(tmp_path))])
    assert "a trace of requests needs the JOB file of a service" in str(bare.exception)


def test_replicas_that_are_fixed_and_a_maximum_that_nobody_named(tmp_path: Path) -> None:
    fixed = job_file(tmp_path, "service: {replicas: 3}\nrun: serve\n")
    told = replay(usual(tmp_path), fixed, *TERMS, "--json")
    assert "fixes 3 replicas" in told.stderr
    assert len({each["spend_usd"] for each in json.loads(told.stdout)["summary"].values()}) == 1
    open_ = job_file(tmp_path, "service: {readiness_probe: /}\nrun: serve\n")
    told = replay(usual(tmp_path), open_, *TERMS, "--json")
    assert "names no max_replicas" in told.stderr
    assert json.loads(told.stdout)["replicas"]["most"] is None


def test_a_trace_by_the_second_is_put_together_to_minutes(tmp_path: Path) -> None:
    path = write(tmp_path, [f"{at},{at % 3}" for at in range(100_020)])
    result = replay(path, job_file(tmp_path), *TERMS, "--policy", "none", "--json")
    told = json.loads(result.stdout)
    assert told["requests"] == 100_020
    assert told["hours"] == pytest.approx(100_020 / 3600, abs=1e-6)
    assert "100,020 rows: put together to a minute each" in result.stderr


def test_dates_of_a_calendar_are_capped_by_the_month(tmp_path: Path) -> None:
    """Parts of two months, in six-hour rows from the 15th of October 2026, each below the cap."""
    begin = 1_792_022_400
    lines = [f"{begin + at * 21_600},{21_600 * 40}" for at in range(4 * 32)]
    options = [*TERMS[:-1], "1000", "--policy", "auto", "--json"]
    told = json.loads(replay(write(tmp_path, lines), job_file(tmp_path), *options).stdout)
    auto = told["summary"]["auto"]
    assert auto["overspend_usd"] == 0
    assert 0.95 < auto["spend_over_cap"] <= 1
    assert auto["spend_usd"] > 1400
    assert auto["dark_hours"] == 0
