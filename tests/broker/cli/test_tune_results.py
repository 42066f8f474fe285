"""What comes of a study, as a user gets at it."""

import csv
import io
import sys
from pathlib import Path

import pytest
from click.testing import Result
from tests.support.mlbroker import Cli, wait_for
from tests.support.studies import STUDY, TRAIN, AStudy
from typer.testing import CliRunner

from mlbroker.broker.cli import build_app
from mlbroker.broker.errors import MlbrokerError
from mlbroker.profiles.search_space import Choice, Range

SPACE = {"X": Range(0.0, 1.0), "KIND": Choice(("-a", "b"))}
JOB = f"""\
# gone
name: s
envs: {{A: "007", B: on, D: 'null', E: "a: b"}}
run: |
  {sys.executable} train.py
  exit 0
broker:
  budget: 2 USD
  deadline: null
  checkpoint: {{path: ckpt/, every: 5m}}
  tune:
    metric: acc
    goal: maximize
    space: {{X: [0.0, 1], KIND: ["-a", "b"]}}
    resource: {{max: 9}}
    trials: 6
"""


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def called(cli: Cli, *words: object, name: str = "tune") -> Result:
    return CliRunner().invoke(
        build_app([name]), [name, *map(str, words)], env=cli.environment(TERM="dumb")
    )


def refused(cli: Cli, *words: object) -> MlbrokerError:
    error = called(cli, *words).exception
    assert isinstance(error, MlbrokerError), error
    assert error.exit_code == 2
    return error


def studied(cli: Cli, study: AStudy, fails: str = "[ $MLBROKER_TRIAL = 1 ] && exit 3; ") -> None:
    (cli.folder / "train.py").write_text(TRAIN)
    study.begin(f"{fails}{sys.executable} train.py", job_path=str(cli.folder / "job.yaml"),
                fingerprint="f", job="s")  # fmt: skip
    assert study.lane()[0] == 0


@pytest.fixture
def study(cli: Cli) -> AStudy:
    return AStudy(cli.folder, STUDY._replace(space=SPACE, trials=6))


def test_its_trials_are_a_table(cli: Cli, study: AStudy) -> None:
    studied(cli, study)
    out = called(cli, "export", "s", "--to", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(out)))
    found = study.now().trials
    assert [int(row["trial"]) for row in rows] == list(range(6))
    assert rows[1]["state"] == "failed"
    assert (rows[1]["metric"], rows[1]["failed"]) == ("", "exit code 3")
    for row, each in zip(rows, found, strict=True):
        assert row["env.X"] == str(each.point["X"])
        assert row["env.KIND"] in ("'-a", "b"), "no cell begins like a formula"
        assert row["state"] == "failed" or float(row["metric"]) == each.trial.score
    assert {row["state"] for row in rows} == {"failed", "paused", "whole"}
    path = cli.folder / "table.csv"
    assert called(cli, "export", "s", "--to", "csv", "-o", path).exit_code == 0
    assert path.read_text() == out
    assert "exists already" in str(refused(cli, "export", "s", "--to", "csv", "-o", path))
    assert called(cli, "export", "s", "--to", "csv", "-o", path, "--force").exit_code == 0


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
def test_optuna_reads_its_storage(cli: Cli, study: AStudy, goal: str) -> None:
    optuna = pytest.importorskip("optuna")
    turned = AStudy(cli.folder, study.study._replace(more_is_better=goal == "maximize"))
    studied(cli, turned)
    path = cli.folder / "s.db"
    assert called(cli, "export", "s", "--to", "optuna", "-o", path).exit_code == 0
    read = optuna.load_study(study_name="s", storage=f"sqlite:///{path}")
    assert read.direction.name.lower() == goal
    found = turned.now().trials
    assert [trial.params for trial in read.trials] == [each.point for each in found]
    assert [trial.intermediate_values for trial in read.trials] == [each.metrics for each in found]
    assert read.trials[1].state.name == "FAIL"
    best = max(found, key=lambda each: each.trial.score)
    assert read.best_trial.params == best.point
    assert read.best_value == pytest.approx(abs(best.trial.score))
    before = path.read_bytes()
    assert "exists already" in str(refused(cli, "export", "s", "--to", "optuna", "-o", path))
    assert path.read_bytes() == before
    assert called(cli, "export", "s", "--to", "optuna", "-o", path, "--force").exit_code == 0
    nowhere = cli.folder / "none" / "s.db"
    assert "cannot be written" in str(refused(cli, "export", "s", "--to", "optuna", "-o", nowhere))
    assert "a storage is a file" in str(refused(cli, "export", "s", "--to", "optuna"))
    assert "did you mean csv?" in str(refused(cli, "export", "s", "--to", "cvs"))


def test_its_best_is_a_job_file(cli: Cli) -> None:
    (cli.folder / "train.py").write_text(TRAIN)
    path = cli.folder / "job.yaml"
    path.write_text(JOB)
    words = ("--searcher", "random", "--local-price", "1", "--yes")
    done = cli("tune", path, *words)
    assert done.returncode == 0, done.stderr
    best = AStudy(cli.folder, name="s").now()
    point = max(best.trials, key=lambda each: each.trial.score).point
    written = cli.folder / "best.yaml"
    assert called(cli, "best", "s", "--job", written).exit_code == 0
    text = written.read_text()
    for kept in ("A: '007'", "B: on", "deadline: null", "D: 'null'", "E: 'a: b'", "run: |"):
        assert kept in text
    assert f"X: '{point['X']!r}'" in text
    assert "tune:" not in text
    checked = cli("run", written, "--on", "local", "--local-price", "1", "--dry-run")
    assert checked.returncode == 0, checked.stderr
    assert "exists already" in str(refused(cli, "best", "s", "--job", written))
    elsewhere = refused(cli, "best", "s", "--job", cli.folder.parent / "best.yaml")
    assert "must be beside the job file" in str(elsewhere)
    path.write_text(JOB.replace("exit 0", "exit 1"))
    again = called(cli, "best", "s", "--job", written, "--force")
    assert "is not what study s began with" in again.stderr


def test_stop_ends_what_works_on_it(cli: Cli) -> None:
    block = {"tune": {"metric": "acc", "goal": "maximize", "space": {"X": ["0", "1.0"]},
                      "resource": {"max": 9}}}  # fmt: skip
    path = cli.job("touch begun; exec sleep 1000", name="s", broker=block)
    client = cli.start("tune", path, "--budget", "0.5", "--local-price", "1", "--yes", "--detach")
    client.communicate(timeout=60)
    wait_for((cli.folder / "begun").exists)
    done = cli("tune", "stop", "s")
    assert done.returncode == 0
    assert "stopped" in done.stderr
    assert "Nothing works on study s" in called(cli, "stop", "s").stderr
    assert "there is no study 'none'" in str(refused(cli, "stop", "none"))
