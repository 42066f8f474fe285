"""`mlbroker tune` on this machine, as a user calls it."""

import json
import os
import re
import signal
import sys
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import Result
from tests.support.mlbroker import Cli, wait_for
from tests.support.studies import TRAIN, AStudy
from typer.testing import CliRunner

from mlbroker.broker.app.tune_lanes import open_lanes
from mlbroker.broker.cli import build_app
from mlbroker.broker.errors import InputError, MlbrokerError
from mlbroker.broker.runs.folder import RunFolder

SCHEMA = json.loads(files("mlbroker.broker").joinpath("schemas/tune.json").read_text())
TUNE = {
    "metric": "acc",
    "goal": "maximize",
    "space": {"X": ["0", "1.0"], "KIND": ["a", "b"]},
    "resource": {"max": 9},
    "trials": 6,
}
GO = ("--searcher", "random", "--budget", "0.5", "--local-price", "1", "--yes")


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    (tmp_path / "train.py").write_text(TRAIN)
    return Cli(tmp_path)


def job(cli: Cli, command: str = f"{sys.executable} train.py", **tune: object) -> Path:
    checkpoint = {"path": "ckpt/", "every": "5m"}
    block = {"checkpoint": checkpoint, "tune": {**TUNE, **tune}}
    return cli.job(command, name="net", broker=block)


def shown(cli: Cli, name: str = "net") -> dict[str, Any]:
    document: dict[str, Any] = json.loads(cli("tune", "show", name, "--json").stdout)
    jsonschema.validate(document, SCHEMA)
    return document


def called(cli: Cli, *words: object) -> Result:
    """In this process, where nothing is launched."""
    return CliRunner().invoke(
        build_app(["tune"]), ["tune", *map(str, words)], env=cli.environment()
    )


def refused(cli: Cli, *words: object) -> MlbrokerError:
    error = called(cli, *words).exception
    assert isinstance(error, MlbrokerError), error
    return error


def test_a_study_is_one_capped_run_and_its_best_can_be_run(cli: Cli) -> None:
    done = cli("tune", job(cli), *GO)
    assert done.returncode == 0, done.stderr
    assert "Study net: acc over X, KIND, at most 6 trials of up to 9 x epoch" in done.stderr
    found = shown(cli)
    assert found["trials"] == 6
    assert not found["running"]
    assert found["ended"] == "6 trials are done, and the best is a whole one"
    best = found["best"]
    assert best["metric"] == pytest.approx(float(best["env"]["X"]))
    assert best["at"] == best["reached"] == 9
    assert [at["metric"] for at in found["curve"]] == sorted(at["metric"] for at in found["curve"])
    (run,) = json.loads(cli("ledger", "--json").stdout)["runs"]
    assert found["runs"] == [run["run_id"]]
    assert found["spent_usd"] == run["spent_usd"]
    assert float(run["spent_usd"]) <= 0.5
    flags = cli("tune", "best", "net", "--env").stdout.split()
    assert flags[::2] == ["--env", "--env"]
    assert set(flags[1::2]) == {f"{name}={value}" for name, value in best["env"].items()}
    assert "The study is done: 6 trials" in cli("tune", "show", "net").stdout
    for words in (("show",), ("best", "net")):
        assert max(map(len, cli("tune", *words, COLUMNS="80").stdout.splitlines())) <= 80
    again = cli("tune", job(cli), *GO)
    assert again.returncode == 2
    assert "there is a study net" in again.stderr


def test_a_study_goes_on_after_its_lane_was_killed(cli: Cli) -> None:
    waits = '[ "$MLBROKER_TRIAL" -lt 1 ] || while [ ! -e go ]; do sleep 0.1; done'
    path = job(cli, f"{waits}; {sys.executable} train.py")
    client = cli.start("tune", path, *GO)
    study = AStudy(cli.folder, name="net")
    wait_for(lambda: study.record.exists and len(study.now().trials) >= 2)
    second = refused(cli, "resume", "net", "--budget", "0.5", "--local-price", "1", "--yes")
    assert "study net is driven by process" in str(second)
    cli("stop", study.now().runs[0])
    client.communicate(timeout=120)
    assert client.returncode == 130
    before = shown(cli)
    assert before["ended"] is None
    assert before["lanes"][0]["state"] == "stopped"
    assert before["forecast"]["done_in_s"] is None
    assert before["forecast"]["work_s"] > 0
    assert "a guess by the mean trial" in cli("tune", "show", "net").stdout
    (cli.folder / "go").touch()
    done = cli("tune", "resume", "net", "--budget", "0.5", "--local-price", "1", "--yes")
    assert done.returncode == 0, done.stderr
    after = shown(cli)
    assert after["trials"] == 6
    assert len(after["runs"]) == 2
    assert after["curve"][: len(before["curve"])] == before["curve"]
    other = job(cli, "echo other")
    changed = cli("tune", "resume", "net", "--budget", "0.5", "--local-price", "1", "--yes")
    assert changed.returncode == 2
    assert "the job is not what study net began with" in changed.stderr
    other.unlink()
    assert cli("tune", "resume", "net", "--budget", "1", "--yes").returncode == 2


def test_the_first_trials_failing_is_the_jobs_failure(cli: Cli) -> None:
    done = cli("tune", job(cli, "exit 3"), *GO)
    assert done.returncode == 100
    found = shown(cli)
    assert found["failed"] == 5
    assert found["best"] is None
    assert found["ended"] == "the first 5 trials failed, the last of them: exit code 3"


def test_money_for_less_than_a_whole_trial_is_no_study(cli: Cli) -> None:
    # A step takes a tenth of a second at least, and the money pays for a minute or two.
    step = "sleep 0.1; echo ::mlbroker metric=1 at=1; exec sleep 1000"
    path = cli.job(step, name="net", broker={"tune": {**TUNE, "resource": {"max": 10_000}}})
    little = ("--local-price", "1", "--budget", "0.03", "--yes")
    first = cli("tune", path, *little)
    assert "What a whole trial takes is not known" in first.stderr
    assert first.returncode == 4
    assert "the money paid for no whole trial of 10000 x epoch" in first.stderr
    assert "mlbroker tune resume net --budget " in first.stderr
    error = refused(cli, path, "--name", "other", *little)
    assert error.exit_code == 4
    assert "one whole trial takes about" in str(error)
    least = re.search(r"At least --budget (\S+),", str(error))
    assert least is not None
    enough = ("--local-price", "1", "--dry-run", "--budget")
    done = called(cli, path, "--name", "other", *enough, least[1])
    assert done.exit_code == 0
    assert "A whole trial takes about" in done.stderr
    below = Decimal(least[1]) - Decimal("0.01")
    assert refused(cli, path, "--name", "other", *enough, below).exit_code == 4
    assert refused(cli, "resume", "net", *little).exit_code == 4


def test_what_cannot_be_is_refused_before_anything_is_written(cli: Cli) -> None:
    error = refused(cli, cli.job("true", name="plain"), *GO)
    assert "has no `tune:` in its broker block" in str(error)
    tune: dict[str, object]
    for tune, words, code, what in (
        ({}, (*GO, "--on", "aws"), 2, "a study runs on this machine"),
        ({}, (*GO, "--name", "../x"), 2, "is not the name of a study"),
        ({}, (*GO, "--searcher", "best"), 2, "there is no searcher 'best'"),
        ({"parallel": 2}, (*GO[:-1], "--budget", "0.0000001"), 3, "does not pay for local"),
        ({"start_from": ["older"]}, GO, 2, "there is no study 'older'"),
        ({}, ("--yes",), 3, "the run has no budget"),
        ({}, ("--budget", "1", "--local-price", "1"), 2, "there is nobody to ask"),
    ):
        error = refused(cli, job(cli, **tune), *words)
        assert error.exit_code == code
        assert what in str(error)
    (cli.folder / "ckpt").mkdir()
    (cli.folder / "ckpt" / "model").write_text("mine")
    assert "has something in it" in str(refused(cli, job(cli), *GO))
    assert "there is no study" in str(refused(cli, "show", "net"))
    assert "is not the name of a study" in str(refused(cli, "show", "../net"))
    assert "There is no study yet" in called(cli, "show").stderr
    assert not (cli.home / "studies").exists()


def test_a_dry_run_begins_nothing(cli: Cli) -> None:
    done = called(cli, job(cli), *GO[:-1], "--dry-run")
    assert done.exit_code == 0
    assert "Dry run" in done.stderr
    assert not (cli.home / "studies").exists()


def test_auto_is_as_many_lanes_as_the_job_says_there_is_room_for(cli: Cli) -> None:
    cores = len(os.sched_getaffinity(0))
    path = job(cli, parallel="auto")
    assert "the run is ended" in called(cli, path, *GO, "--dry-run").stderr, "it said nothing"
    body = json.loads(path.read_text())
    path.write_text(json.dumps({**body, "resources": {"cpus": "1"}}))
    told = f"each of {cores} lanes is ended" if cores > 1 else "the run is ended"
    assert told in called(cli, path, *GO, "--dry-run").stderr
    many = called(cli, job(cli, parallel=cores + 1), *GO, "--dry-run").stderr
    assert f"this machine has {cores} cores, for as many lanes" in many
    error = refused(cli, path, "--cloud", "aws", "--budget", "1", "--yes", "--detach")
    assert "driven by its client, from wave to wave" in str(error)


def test_a_run_of_a_study_s_job_is_refused_and_a_plan_is_of_one_trial(cli: Cli) -> None:
    words = ["run", str(job(cli)), "--on", "local", "--budget", "1", "--yes"]
    error = CliRunner().invoke(build_app(["run"]), words, env=cli.environment()).exception
    assert isinstance(error, InputError)
    assert error.what == "tune: a run is one trial, and has no values of X, KIND"


def test_two_lanes_share_a_budget_and_a_record(cli: Cli) -> None:
    done = cli("tune", job(cli, trials=8, parallel=2), *GO)
    assert done.returncode == 0, done.stderr
    found = shown(cli)
    assert found["trials"] == 8
    assert found["best"]["reached"] == 9
    runs = json.loads(cli("ledger", "--json").stdout)["runs"]
    assert sorted(run["job"] for run in runs) == ["net.tune-1", "net.tune-2"]
    assert sorted(found["runs"]) == sorted(run["run_id"] for run in runs)
    assert sum(Decimal(run["spent_usd"]) for run in runs) == Decimal(found["spent_usd"])
    assert "each of 2 lanes is ended" in done.stderr
    logs = cli("logs", "net").stderr
    assert all(f"{run['job']}, run {run['run_id']}, succeeded:" in logs for run in cli.ledger())
    assert "net has several" in cli("logs", "net", "--follow").stderr
    more = cli("tune", "resume", "net", "--local-price", "1", "--dry-run")
    left_usd = Decimal("0.5") - Decimal(found["spent_usd"])
    assert f"Cap {left_usd} USD for all" in more.stderr, "what is left of the first one"


def test_a_study_whose_client_died_is_taken_up_and_has_one_driver(cli: Cli) -> None:
    waits = "while [ ! -e go ]; do sleep 0.1; done"
    words = ("--searcher", "random", "--budget", "0.5", "--local-price", "1", "--yes")
    path = job(cli, f"{waits}; {sys.executable} train.py", parallel=2, trials=6)
    client = cli.start("tune", path, *words)
    study = AStudy(cli.folder, name="net")
    wait_for(lambda: study.record.exists and len(study.now().trials) >= 2)
    assert "study net is driven by process" in str(refused(cli, "resume", "net", "--yes"))
    lanes = shown(cli)["lanes"]
    assert {lane["job"] for lane in lanes} == {"net.tune-1", "net.tune-2"}
    assert {lane["until"] for lane in lanes} == {1, 3}
    assert {lane["trial"] for lane in lanes} == {0, 1}
    runs = open_lanes(study.record, cli.home)
    for carrier in (RunFolder.of(cli.home, run.run_id).carrier() for run in runs):
        assert carrier is not None
        os.kill(carrier.pid, signal.SIGKILL)
    client.kill()
    client.communicate()
    (cli.folder / "go").touch()
    done = cli("tune", "resume", "net", "--local-price", "1", "--yes")
    assert done.returncode == 0, done.stderr
    found = shown(cli)
    assert found["trials"] == 6
    assert found["best"]["reached"] == 9
    assert not open_lanes(study.record, cli.home)
