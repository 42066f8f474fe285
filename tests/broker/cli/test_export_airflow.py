"""`mlbroker export --to airflow` as a process."""

import ast
import shlex
from pathlib import Path

from tests.support.cli import mlbroker

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
