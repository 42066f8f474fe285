"""`profile --auto`, `run --auto-profile` and the plan's advice, on nodes that are this machine."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cli import mlbroker
from tests.support.indexed import indexed
from tests.support.sshd import Sshd, needs_openssh, running_sshd

JOB = """
name: toy
workdir: .
resources: {cpus: 1+}
run: python3 train.py
broker:
  deadline: 1h
  budget: 1 USD
  work: {steps: 400}
  progress: 'step (\\d+)/'
"""
TRAIN = """
import time
for step in range(1, 401):
    time.sleep(0.005)
    print(f"step {step}/400", flush=True)
"""
NODES = {
    "nodes": [
        {
            "name": name,
            "hardware": {"vcpus": vcpus, "memory_gib": 4 * vcpus},
            "price_per_hour_usd": price,
        }
        for name, vcpus, price in (("big", 2, 0.9), ("small", 1, 0.1))
    ]
}


@pytest.fixture
def job(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "train.py").write_text(TRAIN)
    path = tmp_path / "work" / "job.yaml"
    path.write_text(JOB)
    indexed(tmp_path / "home")
    (tmp_path / "home" / "nodes.yaml").write_text(json.dumps(NODES))
    return path


def test_it_measures_what_is_worth_it_and_says_why(job: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    before = mlbroker("plan", job, "--cloud", "local", home=home)
    assert "measur" in before.stdout
    done = mlbroker(
        *("profile", job, "--auto", "--cloud", "local", "--max-cost", "0.5", "--yes"),
        home=home,
    )
    assert done.returncode == 0, done.stderr
    assert "measuring costs about" in done.stderr
    assert "Take " in done.stderr
    measured = json.loads(mlbroker("profile", "list", "--json", home=home).stdout)["measurements"]
    assert 1 <= len(measured) <= 2
    assert f"{len(measured)} measured for" in done.stderr
    spent = json.loads(mlbroker("ledger", "--json", home=home).stdout)["runs"]
    assert len(spent) == len(measured)


def test_without_a_yes_nothing_is_spent(job: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = mlbroker("profile", job, "--auto", "--cloud", "local", home=home)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert json.loads(mlbroker("ledger", "--json", home=home).stdout)["runs"] == []


def test_a_run_measures_first_where_asked(job: Path, tmp_path: Path) -> None:
    done = mlbroker(
        *("run", job, "--auto-profile", "--cloud", "local", "--yes"),
        home=tmp_path / "home",
    )
    assert done.returncode == 0, done.stderr
    assert "measuring costs about" in done.stderr
    assert "succeeded" in done.stderr + done.stdout


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path / "sshd") as server:
        yield server


@needs_openssh
def test_nodes_over_ssh_and_here_are_weighed_together(
    job: Path, tmp_path: Path, server: Sshd
) -> None:
    home = tmp_path / "home"
    (far,) = json.loads(server.nodes_yaml(name="far", price_per_hour_usd=0.2))["nodes"]
    (home / "nodes.yaml").write_text(json.dumps({"nodes": [*NODES["nodes"], far]}))
    done = mlbroker(
        *("profile", job, "--auto", "--cloud", "local", "--cloud", "ssh"),
        *("--max-cost", "0.5", "--yes", "--json"),
        home=home,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["measurements"]
    assert {row["instance_type"] for row in rows} <= {"big", "small", "far"}
    assert "Take " in done.stderr
    taken = done.stderr.split("Take ")[1].split()[0]
    spent = json.loads(mlbroker("ledger", "--json", home=home).stdout)["runs"]
    assert len(spent) == len(rows)
    assert sum(float(run["spent_usd"]) for run in spent) <= 0.5
    # What it takes is what the plan chooses then.
    plan = mlbroker("plan", job, "--cloud", "local", "--cloud", "ssh", "--json", home=home)
    assert json.loads(plan.stdout)["choice"]["instance_type"] == taken
