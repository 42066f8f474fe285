"""Runs on a real Slurm on loopback, as a user starts them."""

import json
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.support.mlbroker import Cli, processes_with, read_until, wait_for
from tests.support.slurm import KILL_WAIT_S, Slurm, needs_slurm

from mlbroker.broker.ledger import Run, open_ledger

pytestmark = needs_slurm
GPU = {"vcpus": 1, "memory_gib": 0.5, "gpu": "L4", "gpu_count": 2, "gpu_memory_gib": 24}


class OnSlurm(Cli):
    """A command line on this cluster; `place` may change what the node asks for."""

    def environment(self, **extra: str) -> dict[str, str]:
        return super().environment(SLURM_CONF=(self.folder / "conf").read_text(), **extra)

    def place(self, cluster: Slurm, **node: object) -> None:
        (self.home / "nodes.yaml").write_text(cluster.nodes_yaml(**node))

    def launch(self, run: str, *options: object, **fields: Any) -> "subprocess.Popen[str]":
        job = self.job(run, **fields)
        return self.start("run", job, "--on", "slurm", "--budget", "0.1", "--yes", *options)

    @property
    def run(self) -> Run:
        (run,) = open_ledger(self.home).runs()
        return run

    def pending(self) -> str | None:
        runs = open_ledger(self.home).runs()
        return runs[0].attempt.pending if runs and runs[0].attempts else None


@pytest.fixture
def cli(tmp_path: Path, slurm: Slurm) -> Iterator[OnSlurm]:
    cli = OnSlurm(tmp_path)
    cli.home.mkdir(mode=0o700)
    (tmp_path / "conf").write_text(slurm.environment["SLURM_CONF"])
    cli.place(slurm)
    yield cli
    for run in open_ledger(cli.home).runs():
        for attempt in run.attempts:
            slurm("scancel", f"--name={attempt.token}")
    slurm("scontrol", "update", "partition=main", "state=UP")


def test_a_run_from_submission_to_its_row(cli: OnSlurm, slurm: Slurm, tmp_path: Path) -> None:
    """Code goes there, what it left comes back, GPUs are Slurm's, secrets leave no trace."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "word.txt").write_text("from the bundle")
    cli.place(slurm, hardware=GPU)
    # The secret is masked in the log, which shows that the job has it.
    job = cli.job(
        'cat word.txt; echo " gpus $CUDA_VISIBLE_DEVICES, secret $KEY"; '
        "echo kept > $MLBROKER_OUTPUT_DIR/out.txt; "
        f"scontrol show job $SLURM_JOB_ID > {tmp_path}/shown; "
        f"cat $MLBROKER_OUTPUT_DIR/../spec.json > {tmp_path}/spec; echo $KEY > {tmp_path}/key",
        workdir=str(tmp_path / "code"),
        secrets={"KEY": None},
    )
    done = cli("run", job, "--on", "slurm", "--budget", "0.05", "--yes", KEY="planted-4711")
    assert done.returncode == 0, done.stderr
    assert "from the bundle gpus 0,1, secret ***" in done.stdout
    assert (tmp_path / "key").read_text() == "planted-4711\n"
    for name in ("shown", "spec"):
        assert "planted-4711" not in (tmp_path / name).read_text()
    shown = (tmp_path / "shown").read_text()
    for expected in ("Requeue=0", "TimeLimit=00:02:00", "gres:gpu:2", "MinMemoryNode=512M"):
        assert expected in shown
    run = cli.run
    assert (cli.home / "runs" / run.run_id / "outputs" / "out.txt").read_text() == "kept\n"
    (row,) = cli.ledger()
    assert (row["cloud"], row["outcome"], row["exit_code"]) == ("slurm", "succeeded", 0)
    # Two minutes, and what Slurm may take longer, at 1 USD an hour.
    assert run.attempt.worst_usd == (Decimal(120 + 30 + KILL_WAIT_S) / 3600).quantize(
        Decimal("0.000001"), "ROUND_UP"
    )
    assert 0 < run.spent_usd < Decimal("0.01")


def test_a_run_that_waits_is_shown_as_waiting_held_and_stopped_for_nothing(
    cli: OnSlurm, slurm: Slurm
) -> None:
    slurm("scontrol", "update", "partition=main", "state=DOWN")
    client = cli.launch("true")
    wait_for(lambda: cli.pending() == "PartitionDown")
    (row,) = json.loads(cli("ps", "--json").stdout)["runs"]
    assert (row["phase"], row["spent_usd"], row["kill_at"]) == ("pending: PartitionDown", "0", None)
    assert Decimal(row["reserved_usd"]) > 0, "Slurm may start it at any time"
    why = cli("queue", "why", cli.run.run_id).stdout
    assert "waits in the queue of Slurm: PartitionDown" in why
    (told,) = json.loads(cli("queue", "--json").stdout)["scheduled"]
    assert told["reason"] == "PartitionDown"
    assert cli("queue", "hold", cli.run.run_id).returncode == 0
    assert "Held" in slurm("squeue", "-h", f"--name={cli.run.attempt.token}", "-o", "%r")
    assert cli("queue", "top", cli.run.run_id).returncode == 2
    assert cli("stop", cli.run.run_id).returncode == 0
    client.communicate()
    assert (cli.run.outcome, cli.run.spent_usd) == ("stopped", 0)
    assert slurm("squeue", "-h", f"--name={cli.run.attempt.token}") == ""


def test_who_is_cancelled_in_slurm_is_stopped(cli: OnSlurm, slurm: Slurm) -> None:
    """The job hears it at the same time as its keepers, and its own exit code says nothing."""
    client = cli.launch("trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done")
    read_until(client.stdout, "up")
    slurm("scancel", f"--name={cli.run.attempt.token}")
    client.communicate()
    assert cli.run.outcome == "stopped"
    assert cli.run.spent_usd > 0


def test_who_is_cancelled_in_the_second_of_its_start_is_stopped(cli: OnSlurm) -> None:
    """For Slurm, which tells whole seconds, it has never started."""
    work = "while :; do sleep 0.1; done"
    client = cli.launch(f"trap 'exit 7' TERM; scancel --name=$MLBROKER_TOKEN; {work}")
    client.communicate()
    assert cli.run.outcome == "stopped"
    assert cli.run.spent_usd > 0


def test_who_waits_and_is_cancelled_in_slurm_costs_nothing(cli: OnSlurm, slurm: Slurm) -> None:
    slurm("scontrol", "update", "partition=main", "state=DOWN")
    client = cli.launch("true")
    wait_for(lambda: cli.pending() == "PartitionDown")
    slurm("scancel", f"--name={cli.run.attempt.token}")
    client.communicate()
    assert (cli.run.outcome, cli.run.spent_usd) == ("stopped", 0)
    assert "cancelled it before it was started" in str(cli.run.detail)


def test_a_preempted_job_goes_on_from_its_checkpoint(cli: OnSlurm, slurm: Slurm) -> None:
    cli.place(slurm, hardware={"vcpus": 4, "memory_gib": 0.5})
    work = (
        "if [ -e ckpt/at ]; then echo went on from $(cat ckpt/at); exit 0; fi; "
        "mkdir -p ckpt; trap 'echo 41 > ckpt/at; exit 0' TERM; echo up; "
        "while :; do sleep 0.1; done"
    )
    client = cli.launch(work, broker={"checkpoint": {"path": "ckpt/", "every": "1h"}})
    read_until(client.stdout, "up")
    urgent = ("--partition=urgent", "--nodes=2", "--ntasks-per-node=4", "--time=1")
    slurm("sbatch", *urgent, "--output=/dev/null", stdin="#!/bin/sh\nsleep 3\n")
    out, _ = client.communicate()
    first, second = cli.run.attempts
    assert (first.why, second.why) == ("preempted", "finished")
    assert "went on from 41" in out
    assert cli.run.outcome == "succeeded"
    assert cli.run.spent_usd <= cli.run.cap_usd


def test_a_dead_client_leaves_a_job_that_reconcile_settles(cli: OnSlurm, slurm: Slurm) -> None:
    client = cli.launch("echo up; sleep 1")
    read_until(client.stdout, "up")
    client.kill()
    client.communicate()
    token = cli.run.attempt.token
    wait_for(lambda: not slurm("squeue", "-h", f"--name={token}"))
    assert cli("reconcile").returncode == 0
    assert cli.run.outcome == "succeeded"
    assert processes_with(token) == []


def test_a_partition_s_limit_is_the_kill_time_where_it_is_less(cli: OnSlurm, slurm: Slurm) -> None:
    """The cap pays for an hour, and the partition gives two minutes."""
    cli.place(slurm, slurm={"partition": "short"}, price_per_hour_usd="0.1")
    client = cli.launch("echo up; sleep 600")
    read_until(client.stdout, "up")
    lifetime = cli.run.attempt.kill_at - cli.run.attempt.began_at
    assert lifetime.total_seconds() == 120
    cli("stop", cli.run.run_id)
    client.communicate()


def test_bad_places_are_said(cli: OnSlurm, slurm: Slurm) -> None:
    job = cli.job("true")
    said = cli("run", job, "--on", "slurm:other", "--budget", "1", "--yes")
    assert said.returncode == 2
    assert "no node with slurm is called 'other'" in said.stderr
    cli.place(slurm, slurm={"partition": "missing"})
    said = cli("run", job, "--on", "slurm:missing", "--budget", "1", "--yes")
    assert said.returncode == 1
    assert "Invalid partition name" in said.stderr
    assert cli.run.spent_usd == 0
    said = cli("doctor", "--cloud", "slurm")
    assert said.returncode == 1
    assert "Invalid partition name" in said.stdout
