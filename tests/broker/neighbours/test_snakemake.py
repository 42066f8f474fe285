"""A real Snakemake, whose jobs are runs under one cap."""

import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from tests.support.mlbroker import PATIENCE_S, Cli, processes_with, wait_for

from mlbroker.broker.ledger import WORKFLOW, open_ledger, share_in

SNAKEFILE = """
rule all:
    input: "sum.txt"
rule part:
    output: "part{n}.txt"
    shell: "echo {wildcards.n} > {output}"
rule sum:
    input: expand("part{n}.txt", n=range(3))
    output: "sum.txt"
    resources: mlbroker_budget="0.07 USD"
    shell: "cat {input} > {output}"
"""
ONE = """
rule one:
    output: "one.txt"
    shell: "COMMAND"
"""
# What a handler of Snakemake's log does with a Ctrl-C, wherever that comes.
DEAF = """
import threading

class Deaf(threading.Semaphore):
    def acquire(self, *options):
        while True:
            try:
                return super().acquire(*options)
            except KeyboardInterrupt:
                pass

if workflow.is_main_process:
    threading.Semaphore = Deaf
"""
PRICE = ("--mlbroker-local-price", "1")
# As `python -m snakemake`; a test run that was started in the background hands down an ignored
# SIGINT.
PROGRAM = """
import signal
from snakemake.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""


class Snakemake(Cli):
    """In a folder of its own, with this machine at 1 USD an hour."""

    def words(self, *options: str) -> list[str]:
        main = [sys.executable, "-c", PROGRAM, "--executor", "mlbroker", "--jobs", "2"]
        return [*main, "--seconds-between-status-checks", "1", *PRICE, *options]

    def call(self, *options: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.words(*options), cwd=self.folder, env=self.environment(), text=True,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S,
        )  # fmt: skip

    def background(self, *options: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self.words(*options), cwd=self.folder, env=self.environment(), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip

    def rules(self, text: str) -> None:
        (self.folder / "Snakefile").write_text(text)

    def all_settled(self) -> bool:
        return all(run.settled for run in open_ledger(self.home).runs())


@pytest.fixture
def snakemake(tmp_path: Path) -> Snakemake:
    return Snakemake(tmp_path)


def test_each_job_is_a_run_and_all_are_under_one_cap(snakemake: Snakemake) -> None:
    snakemake.rules(SNAKEFILE)
    done = snakemake.call("--mlbroker-budget", "0.1", "--mlbroker-project", "films")
    assert done.returncode == 0, done.stderr
    assert (snakemake.folder / "sum.txt").read_text() == "0\n1\n2\n"
    runs = open_ledger(snakemake.home).runs()
    assert sorted(run.job for run in runs) == ["part", "part", "part", "sum"]
    assert {run.outcome for run in runs} == {"succeeded"}
    assert {run.project for run in runs} == {"films"}
    # The rule that says so has its own; the others have equal parts of what it leaves.
    caps = [Decimal(run.details["cap_usd"]) for run in sorted(runs, key=lambda r: r.reserved_at)]
    assert caps[0] == Decimal("0.01")
    assert caps[3] == Decimal("0.07")
    assert all(Decimal("0.01") <= cap < Decimal("0.03") for cap in caps[1:3])
    shares = [share for run in runs if (share := share_in(run, WORKFLOW)) is not None]
    assert len({share.cap for share in shares}) == 1
    assert {share.budget_usd for share in shares} == {Decimal("0.1")}
    spent_usd = sum((run.spent_usd for run in runs), Decimal(0))
    assert 0 < spent_usd <= Decimal("0.1")
    assert f"{spent_usd.normalize():f} of 0.1 USD spent" in done.stderr
    again = snakemake.call("--mlbroker-budget", "0.1")
    assert again.returncode == 0, again.stderr
    assert len(open_ledger(snakemake.home).runs()) == 4, "what is done is not done again"


@pytest.mark.parametrize(
    ("command", "budget", "outcome", "says"),
    [
        ("exit 7", "1", "failed", "mlbroker logs"),
        ("sleep 600", "0.004", "capped", "is capped"),
    ],
)
def test_a_job_that_fails_is_told_with_its_run(
    snakemake: Snakemake, command: str, budget: str, outcome: str, says: str
) -> None:
    snakemake.rules(ONE.replace("COMMAND", f"echo half > {{output}}; {command}"))
    done = snakemake.call("--mlbroker-budget", budget)
    assert done.returncode == 1
    (run,) = open_ledger(snakemake.home).runs()
    assert run.outcome == outcome
    assert run.spent_usd <= Decimal(budget)
    assert f"mlbroker run {run.run_id} is {outcome}" in done.stderr
    assert says in done.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--mlbroker-budget", "0.000001"), "one second with its kill slack costs"),
        (("--mlbroker-budget", "much"), "--mlbroker-budget"),
        (("--mlbroker-budget", "1", "--mlbroker-on", "nowhere"), "Use it with --on local"),
        ((), "budget"),
        (("--mlbroker-budget", "1", "--set-resources", "one:mlbroker_budget='much'"), "'much'"),
    ],
)
def test_what_cannot_be_begins_nothing(
    snakemake: Snakemake, options: tuple[str, ...], says: str
) -> None:
    snakemake.rules(ONE.replace("COMMAND", "touch {output}"))
    done = snakemake.call(*options)
    assert done.returncode != 0
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert open_ledger(snakemake.home).runs() == []


@pytest.mark.parametrize("heard", [True, False])
def test_an_interrupted_workflow_ends_its_runs(snakemake: Snakemake, heard: bool) -> None:
    """Also where the press comes while Snakemake writes to its log, which drops it."""
    mark = f"MARK={snakemake.folder.name}-heard-{heard}"
    rules = ONE.replace("COMMAND", f"export {mark}; sleep 600")
    snakemake.rules(rules if heard else DEAF + rules)
    client = snakemake.background("--mlbroker-budget", "1")
    wait_for(lambda: processes_with(mark))
    os.killpg(client.pid, signal.SIGINT)
    client.communicate()
    wait_for(snakemake.all_settled)
    (run,) = open_ledger(snakemake.home).runs()
    assert run.outcome == "stopped"
    assert processes_with(mark) == []


def test_a_dead_snakemake_leaves_a_run_that_nobody_does_twice(snakemake: Snakemake) -> None:
    mark = f"MARK={snakemake.folder.name}-dead"
    go = snakemake.folder / "go"
    wait = f"while [ ! -e {go} ]; do sleep 0.1; done; echo done > {{output}}"
    snakemake.rules(ONE.replace("COMMAND", f"export {mark}; {wait}"))
    client = snakemake.background("--mlbroker-budget", "1")
    wait_for(lambda: processes_with(mark))
    client.kill()
    client.communicate()
    (run,) = open_ledger(snakemake.home).runs()
    # Snakemake's own lock and marks of what is not whole are set aside by its user.
    again = ("--nolock", "--rerun-incomplete", "--mlbroker-budget", "1")
    second = snakemake.call(*again)
    assert second.returncode == 1
    assert f"worked on by run {run.run_id}" in second.stderr
    assert len(open_ledger(snakemake.home).runs()) == 1
    go.touch()
    wait_for(snakemake.all_settled)
    (run,) = open_ledger(snakemake.home).runs()
    assert run.outcome == "succeeded"
    third = snakemake.call(*again)
    assert third.returncode == 0, third.stderr
    assert (snakemake.folder / "one.txt").read_text() == "done\n"
