"""`mlbroker export --to airflow` as a process; and the DAG in a real Airflow, where
MLBROKER_AIRFLOW_PYTHON names a Python that has one.
"""

import ast
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.cli import mlbroker
from tests.support.dags import GO, SIX, dag, expected

from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.runs.folder import RunFolder

JOB = "name: one\nresources: {cpus: 4+}\nrun: x\nbroker: {budget: 3 USD}\n"
PIPELINE = "name: all\nbroker: {budget: 0.5 USD}\n---\nname: a\nrun: x\n---\nname: b\nrun: y\n"


def command_in(text: str) -> list[str]:
    (call,) = (
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "BashOperator"
    )
    words = next(each.value for each in call.keywords if each.arg == "bash_command")
    return shlex.split(ast.literal_eval(words))


def test_a_job_is_a_task_under_its_cap(tmp_path: Path, home: Path) -> None:
    (tmp_path / "job.yaml").write_text(JOB)
    dag = tmp_path / "dag.py"
    done = mlbroker(
        "export", tmp_path / "job.yaml", "--to", "airflow", "-o", dag, "--cloud", "aws",
        "--env", "A=b c", "--prices", tmp_path / "p.csv", home=home,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert command_in(dag.read_text()) == [
        "mlbroker", "run", "job.yaml", "--budget", "3", "--yes", "--env", "A=b c",
        "--cloud", "aws", "--prices", "p.csv",
    ]  # fmt: skip


def test_a_pipeline_is_one_task(tmp_path: Path, home: Path) -> None:
    (tmp_path / "p.yaml").write_text(PIPELINE)
    done = mlbroker("export", tmp_path / "p.yaml", "--to", "airflow", home=home)
    assert done.returncode == 0, done.stderr
    assert command_in(done.stdout) == ["mlbroker", "run", "p.yaml", "--budget", "0.5", "--yes"]
    assert "one task" in done.stderr


def test_no_cap_is_bad_input(tmp_path: Path, home: Path) -> None:
    (tmp_path / "job.yaml").write_text(JOB.replace("{budget: 3 USD}", "{}"))
    done = mlbroker("export", tmp_path / "job.yaml", "--to", "airflow", home=home)
    assert done.returncode == 2
    assert "--budget" in done.stderr
    assert done.stdout == ""


def test_a_place_is_the_task_s_and_of_no_other_tool(tmp_path: Path, home: Path) -> None:
    (tmp_path / "job.yaml").write_text(JOB)
    where = ("--on", "local", "--local-price", "0.4")
    done = mlbroker("export", tmp_path / "job.yaml", "--to", "airflow", *where, home=home)
    assert done.returncode == 0, done.stderr
    assert command_in(done.stdout)[-4:] == list(where)
    done = mlbroker("export", tmp_path / "job.yaml", "--to", "slurm", *where, home=home)
    assert done.returncode == 2
    assert "--on: has no effect but on Airflow's task" in done.stderr


@pytest.mark.skipif(
    "MLBROKER_AIRFLOW_PYTHON" not in os.environ,
    reason="needs a Python with apache-airflow: MLBROKER_AIRFLOW_PYTHON=…",
)
def test_a_real_airflow_runs_a_pipeline_and_hears_how_it_ended(tmp_path: Path, home: Path) -> None:
    path = dag(tmp_path, SIX)
    dags = tmp_path / "dags"
    dags.mkdir()
    for name, budget in (("done", "0.5"), ("capped", "0.000001")):
        text = path.read_text().replace('"name": "dag"', f'"name": "{name}"')
        (tmp_path / f"{name}.yaml").write_text(text)
        done = mlbroker(
            "export", tmp_path / f"{name}.yaml", "--to", "airflow", "-o", dags / f"{name}.py",
            "--budget", budget, *GO[:-1], home=home,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert "DagRun failed" not in _airflow(tmp_path, home, "dags", "test", "done")
    runs = open_ledger(home).runs()
    assert sorted(run.job for run in runs) == sorted(SIX)
    assert all(run.outcome == "succeeded" for run in runs)
    [last] = [run for run in runs if run.job == "f"]
    outputs = RunFolder.of(home, last.run_id).outputs
    assert (outputs / "out.txt").read_text() == expected("f")
    assert "exit code 4" in _airflow(tmp_path, home, "dags", "test", "capped")
    assert len(open_ledger(home).runs()) == len(SIX)


def _airflow(folder: Path, home: Path, *arguments: str) -> str:
    """What Airflow says to a command, its database made anew where there is none."""
    env = os.environ | {
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "MLBROKER_HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    airflow = [os.environ["MLBROKER_AIRFLOW_PYTHON"], "-m", "airflow"]
    for words in (("db", "migrate"), arguments):
        done = subprocess.run([*airflow, *words], env=env, capture_output=True, text=True)
    return done.stdout + done.stderr
