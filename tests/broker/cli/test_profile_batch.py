"""`profile --batch`: the job is told each batch by its own variable, and the worth is shown."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.support.indexed import indexed
from tests.support.mlbroker import Cli

SCHEMA = json.loads(files("mlbroker.broker").joinpath("schemas/plan.json").read_text("utf-8"))
# It tells its noise as a job may, and which batch it was given.
LOOP = (
    "echo $BATCH $ACC $LR $MLBROKER_LR_SCALE >> told; for i in $(seq 60); do"
    " echo ::mlbroker step=$i/60; echo ::mlbroker noise=300 batch=$BATCH; sleep 0.01; done"
)
BATCH: dict[str, Any] = {
    "size": 100,
    "max": 400,
    "micro": 100,
    "env": {"total": "BATCH", "accumulation": "ACC"},
    "lr": {"env": "LR", "base": 0.1, "rule": "adascale"},
}


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    cli = Cli(tmp_path)
    indexed(cli.home)
    return cli


def job_of(cli: Cli, **changed: Any) -> Path:
    return cli.job(LOOP, workdir=".", broker={"batch": BATCH | changed})


def test_steps_at_several_batches_stand_beside_the_jobs_own(cli: Cli) -> None:
    job = job_of(cli)
    told = job.parent / "told"
    own = cli("profile", job, "--yes", "--no-scaling", "--json")
    assert own.returncode == 0, own.stderr
    document = json.loads(own.stdout)
    assert document["measurements"][0]["batch_size"] == 100
    assert document["measurements"][0]["noise"]["samples"] == 300
    assert document["measurements"][0]["noise"]["by"] == "job"
    done = cli("profile", job, "--yes", "--batch", "200,400")
    assert done.returncode == 0, done.stderr
    # The learning rate follows the noise that was seen: by (300 + 100) / (300 / 2 + 100).
    assert told.read_text().splitlines() == [
        "100 1 0.1 1",
        "200 2 0.16 1.6",
        "400 4 0.228571 2.28571",
    ]
    assert "local" in done.stdout
    assert ", batch 200: 0.0" in done.stdout
    assert "The whole job" not in done.stdout
    table = [line.split() for line in done.stdout.splitlines() if "100%" in line or "57%" in line]
    assert [row[0] for row in table] == ["100", "400"]
    assert [row[-1] for row in table] == ["1", "2.286"]
    shown = cli("profile", "show", job)
    assert "Gradient noise: φ = 300 samples (± 30%) at batch 100, as the job tells." in shown.stdout
    assert "57%" in shown.stdout
    # A plan counts the steps of the job's own batch alone.
    kept = json.loads(cli("profile", "show", job, "--json").stdout)
    assert [row["batch_size"] for row in kept["measurements"]] == [100]
    assert [(row["batch"], round(row["efficiency"], 3)) for row in kept["batches"]] == [
        (100, 1),
        (200, 0.8),
        (400, 0.571),
    ]
    plan = json.loads(cli("plan", job, "--json").stdout)
    Draft202012Validator(SCHEMA).validate(plan)
    assert plan["batches"] == kept["batches"]
    words = cli("plan", job, "--explain").stdout
    assert "is known to have memory for" in words
    assert "Why not larger than" in words
    off = cli.job(LOOP, workdir=".", broker={"batch": BATCH, "adapt": "off"})
    assert "batches" not in json.loads(cli("plan", off, "--json").stdout)


def test_without_noise_the_rate_stays_and_it_is_said(cli: Cli) -> None:
    done = cli("profile", job_of(cli), "--yes", "--batch", "50")
    assert done.returncode == 0, done.stderr
    assert "LR stays as it is: the gradient noise is not known yet." in done.stderr


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("800", "--batch: 800 is above what the job file allows, max: 400"),
        ("64,x", "--batch: 'x' is not a whole number"),
        ("0", "--batch: '0' is not between 1"),
        ("", "--batch: '' is not a whole number"),
    ],
)
def test_a_batch_that_cannot_be_is_refused(cli: Cli, asked: str, said: str) -> None:
    job = job_of(cli)
    done = cli("profile", job, "--yes", "--batch", asked)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert not (job.parent / "told").exists()


def test_a_job_that_cannot_be_told_is_refused(cli: Cli) -> None:
    done = cli("profile", cli.job(LOOP, broker={}), "--yes", "--batch", "64")
    assert done.returncode == 2
    assert "by which variable the job is told" in done.stderr
    on_node = cli("profile", job_of(cli), "--yes", "--batch", "64", "--on", "node")
    assert on_node.returncode == 2
    assert "on this machine only" in on_node.stderr
