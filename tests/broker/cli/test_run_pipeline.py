"""`mlbroker run` of a pipeline on this machine, as a user calls it."""

import json
import os
import signal
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import Result
from tests.broker.runs.test_terminal import ended, terminal
from tests.support.dags import GO, SIX, dag, expected, ran
from tests.support.mlbroker import Cli, wait_for
from typer.testing import CliRunner

from mlbroker.broker.cli import build_app
from mlbroker.broker.errors import InputError, MlbrokerError, NothingFeasible, RefusedError
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.pipelines.record import find
from mlbroker.broker.runs.folder import RunFolder

SCHEMA = json.loads(files("mlbroker.broker").joinpath("schemas/pipeline-run.json").read_text())
TWO = {"a": [], "b": ["a"]}
FOUR = {**TWO, "c": ["a"], "d": ["b", "c"]}


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def went(cli: Cli, path: Path, *words: object, code: int = 0) -> dict[str, Any]:
    done = cli("run", path, *GO, "--json", *words)
    assert done.returncode == code, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    jsonschema.validate(document, SCHEMA)
    return document


def states(document: dict[str, Any]) -> dict[str, str]:
    return {each["stage"]: each["state"] for each in document["stages"]}


def called(cli: Cli, *words: object) -> Result:
    """In this process, where nothing is launched."""
    return CliRunner().invoke(build_app(["run"]), ["run", *map(str, words)], env=cli.environment())


def refused(cli: Cli, *words: object) -> MlbrokerError:
    error = called(cli, *words).exception
    assert isinstance(error, MlbrokerError), error
    return error


def test_stages_hand_on_what_they_make_under_one_cap(cli: Cli) -> None:
    path = dag(cli.folder, SIX)
    found = went(cli, path)
    assert found["outcome"] == "succeeded"
    assert set(states(found).values()) == {"done"}
    last = RunFolder.of(cli.home, found["stages"][-1]["run_id"])
    assert (last.outputs / "out.txt").read_text() == expected("f")
    assert sorted(ran(cli.folder)) == sorted(f"{n} {w}" for n in SIX for w in ("begins", "ends"))
    runs = cli.ledger()
    assert {(run["pipeline"], run["pipeline_id"]) for run in runs} == {
        ("dag", found["pipeline_id"])
    }
    assert {(run["state"], run["reserved_usd"]) for run in runs} == {("settled", "0")}
    by = json.loads(cli("report", "--by", "pipeline", "--json").stdout)
    assert [(group["key"], group["runs"]) for group in by["groups"]] == [("pipeline dag", 6)]
    said = cli("logs", found["pipeline_id"]).stderr
    assert "a, run " in said
    assert "d of dag" in cli("ps", "--all").stdout
    assert len(cli("ledger", "--run", found["pipeline_id"], "--json").stdout.split('"run_id"')) > 6


def test_what_is_unchanged_is_skipped_and_the_rest_runs(cli: Cli) -> None:
    path = dag(cli.folder, FOUR)
    went(cli, path)
    again = went(cli, path)
    assert set(states(again).values()) == {"skipped"}
    assert again["spent_usd"] == "0"
    later = went(cli, path, "--from", "c")
    assert {n for n, s in states(later).items() if s == "done"} == {"c", "d"}
    assert set(states(went(cli, path, "--force")).values()) == {"done"}
    # Another variable of one stage: that one runs, and as it hands on the same, no other does.
    path = dag(cli.folder, FOUR, b={"envs": {"X": "1"}})
    assert {n for n, s in states(went(cli, path)).items() if s == "done"} == {"b"}
    code = cli.folder / "work" / "stage.py"
    code.write_text(code.read_text() + "# other code\n")
    assert set(states(went(cli, path)).values()) == {"done"}


def test_a_failed_stage_stops_what_depends_on_it_and_is_resumed(cli: Cli) -> None:
    path = dag(cli.folder, SIX, b={"run": "exit 3"})
    found = went(cli, path, code=100)
    assert states(found) == {
        "a": "done", "b": "failed", "c": "done", "d": "not_begun", "e": "done", "f": "not_begun",
    }  # fmt: skip
    assert found["outcome"] == "failed"
    assert found["stages"][1]["exit_code"] == 3
    mended = went(cli, dag(cli.folder, SIX), "--resume", "last")
    assert mended["pipeline_id"] == found["pipeline_id"]
    assert set(states(mended).values()) == {"done"}
    assert ran(cli.folder).count("a begins") == 1
    assert ran(cli.folder).count("b begins") == 1


def test_who_resumes_waits_for_what_went_on_without_a_client(cli: Cli) -> None:
    path = dag(cli.folder, TWO, a={"run": "echo >> ran; while [ ! -e go ]; do sleep 0.1; done; "
                                          "echo x > $MLBROKER_OUTPUT_DIR/out.txt"})  # fmt: skip
    client = cli.start("run", path, *GO)
    wait_for(lambda: ran(cli.folder))
    second = cli("run", path, *GO)
    assert second.returncode == 2
    assert "pipeline dag is driven by process" in second.stderr
    client.kill()
    client.communicate()
    third = cli("run", path, *GO)
    assert third.returncode == 2
    assert "pipeline dag is at work, run " in third.stderr
    helper = cli.start("run", path, *GO, "--resume", "last", "--json")
    (cli.folder / "work" / "go").touch()
    out, told = helper.communicate()
    assert helper.returncode == 0, told
    assert states(json.loads(out)) == {"a": "done", "b": "done"}
    assert ran(cli.folder) == ["", "b begins", "b ends"]
    assert len(cli.ledger()) == 2


def test_ctrl_c_and_stop_end_all_that_is_at_work(cli: Cli) -> None:
    path = dag(cli.folder, TWO, 60)
    client = cli.start("run", path, *GO)
    wait_for(lambda: ran(cli.folder))
    os.kill(client.pid, signal.SIGINT)
    _, told = client.communicate()
    assert client.returncode == 130, told
    assert "stopped; everything is accounted for" in told
    record = find(open_ledger(cli.home).runs(), "last")
    assert [run.outcome for run in record.runs] == ["stopped"]
    client = cli.start("run", path, *GO, "--resume", "last")
    wait_for(lambda: len(ran(cli.folder)) == 2)
    done = cli("stop", record.pipeline_id)
    assert done.returncode == 0, done.stderr
    _, told = client.communicate()
    assert client.returncode == 130, told
    assert all(run["state"] == "settled" for run in cli.ledger())
    assert ran(cli.folder) == ["a begins", "a begins"]


def test_what_was_detached_goes_on_and_begins_nothing_more(cli: Cli) -> None:
    waits = (
        "echo >> ran; while [ ! -e go ]; do sleep 0.1; done; echo x > $MLBROKER_OUTPUT_DIR/out.txt"
    )
    path = dag(cli.folder, TWO, a={"run": waits})
    with terminal(cli, "run", path, *GO) as (screen, pid):
        wait_for(lambda: ran(cli.folder), tell=lambda: screen.text)
        screen.type("\x03")
        screen.expect(r"\[d\]etach")
        screen.type("d\n")
        assert ended(screen, pid) == 130
    (run,) = open_ledger(cli.home).runs()
    assert not run.settled
    (cli.folder / "work" / "go").touch()
    wait_for(lambda: all(each.settled for each in open_ledger(cli.home).runs()))
    assert ran(cli.folder) == [""]
    resumed = went(cli, path, "--resume", "last")
    assert states(resumed) == {"a": "done", "b": "done"}
    assert ran(cli.folder) == ["", "b begins", "b ends"]


def test_each_stage_has_what_the_others_leave_it(cli: Cli) -> None:
    found = went(cli, dag(cli.folder, TWO), "--budget", "0.5")
    first, second = (open_ledger(cli.home).run(each["run_id"]) for each in found["stages"])
    assert first is not None
    assert second is not None
    assert float(first.details["reserved_usd"]) > 0.48
    assert float(second.details["reserved_usd"]) > 0.4
    assert found["budget_usd"] == "0.5"


def test_a_dry_run_reserves_nothing(cli: Cli) -> None:
    document = json.loads(called(cli, dag(cli.folder, SIX), *GO, "--dry-run", "--json").stdout)
    jsonschema.validate(document, SCHEMA)
    assert document["dry_run"] is True
    assert set(states(document).values()) == {"not_begun"}
    assert document["stages"][0]["least_usd"] == "0.003"
    assert open_ledger(cli.home).runs() == []
    assert not (cli.home / "pipelines").exists()


def test_too_little_money_or_time_is_refused_with_what_would_do(cli: Cli) -> None:
    path = dag(cli.folder, SIX)
    error = refused(cli, path, *GO, "--budget", "0.01")
    assert isinstance(error, NothingFeasible)
    assert "pay for no 6 stages" in str(error)
    assert "At least 0.018 USD" in str(error)
    path = dag(cli.folder, SIX, header={"deadline": "1h"})
    assert isinstance(refused(cli, path, *GO), RefusedError), "no budget"
    went(cli, dag(cli.folder, TWO, 2))
    # What a stage takes is known from its run.
    late = refused(cli, dag(cli.folder, TWO, 2), *GO, "--force", "--deadline", "1s")
    assert isinstance(late, NothingFeasible)
    assert "a → b" in str(late)
    assert "deadline" in str(late.hint)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--from", "x"), "there is no stage"),
        (("--resume", "last"), "no pipeline called dag has run here"),
        (("--detach",), "--detach: has no effect on a pipeline"),
        (("--steps", "3"), "--steps: has no effect on a pipeline"),
        (("--auto-profile",), "--auto-profile: has no effect"),
    ],
)
def test_what_cannot_be_meant_is_refused(cli: Cli, words: tuple[str, ...], what: str) -> None:
    on = () if "--auto-profile" in words else GO
    error = refused(cli, dag(cli.folder, TWO), *on, *words)
    assert isinstance(error, InputError)
    assert what in str(error)


def test_options_of_pipelines_are_refused_on_a_job(cli: Cli) -> None:
    job = cli.job("true")
    assert "--from: has no effect on a single job" in str(refused(cli, job, *GO, "--from", "a"))
    assert "--force: has no effect on a single job" in str(refused(cli, job, *GO, "--force"))


def test_who_resumes_with_another_file_is_told_which_stage_changed(cli: Cli) -> None:
    went(cli, dag(cli.folder, TWO, b={"run": "exit 1"}), code=100)
    error = refused(cli, dag(cli.folder, TWO, a={"run": "true"}), *GO, "--resume", "last")
    assert "dag.yaml:3: a: was changed since pipeline pl-" in str(error)
    error = refused(cli, dag(cli.folder, {"b": [], "c": []}), *GO, "--resume", "last")
    assert "has no stage a any more" in str(error)
    unknown = refused(cli, dag(cli.folder, TWO), *GO, "--resume", "pl-none")
    assert "'pl-none' is no pipeline called dag" in str(unknown)


def test_a_stage_that_is_no_job_is_refused_with_its_line(cli: Cli) -> None:
    path = dag(cli.folder, TWO, b={"workdir": {"url": "https://example.com/x.git", "ref": "main"}})
    path.write_text(path.read_text())
    error = refused(cli, path, "--budget", "1", "--yes")
    assert isinstance(error, InputError)
    assert "dag.yaml:5: b: workdir" in str(error)
