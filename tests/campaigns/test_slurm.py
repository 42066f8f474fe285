"""Slurm's controller and mlbroker's client killed with -9 at random moments of real jobs."""

import os
import random
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from subprocess import Popen, TimeoutExpired

import pytest
from tests.support.campaign import figures, size
from tests.support.mlbroker import Cli, wait_for
from tests.support.slurm import Slurm, needs_slurm, running_slurm

from mlbroker.broker.ledger import Run, open_ledger

pytestmark = needs_slurm
CLUSTERS = 3


@pytest.fixture
def clusters() -> Iterator[list[Slurm]]:
    with _all(size(1, CLUSTERS)) as found:
        yield found


@contextmanager
def _all(count: int) -> Iterator[list[Slurm]]:
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield [stack.enter_context(running_slurm()) for _ in range(count)]


def test_kill_9_of_controller_and_client(tmp_path: Path, clusters: list[Slurm]) -> None:
    rounds = size(4, 200)

    def one_after_the_other(number: int) -> list[list[str]]:
        mine = range(number, rounds, len(clusters))
        return [_round(tmp_path / str(seed), seed, clusters[number]) for seed in mine]

    with figures("slurm-kills") as kept, ThreadPoolExecutor(len(clusters)) as pool:
        killed = [k for each in pool.map(one_after_the_other, range(len(clusters))) for k in each]
        kept |= {
            "rounds": rounds,
            "controllers killed": sum("controller" in each for each in killed),
            "clients killed": sum("client" in each for each in killed),
            "double starts": 0,
            "runs over their cap": 0,
        }
    assert any(killed)


def _round(folder: Path, seed: int, slurm: Slurm) -> list[str]:
    """One run, during which somebody is killed; held to every promise."""
    chance = random.Random(seed)
    cli = Cli(folder)
    cli.home.mkdir(mode=0o700, parents=True)
    (cli.home / "nodes.yaml").write_text(slurm.nodes_yaml())
    book = folder / "book"
    work = f'echo "begins $MLBROKER_TOKEN" >> {book}; sleep {chance.choice([0.2, 2])}; '
    job = cli.job(work + f'echo "ends $MLBROKER_TOKEN" >> {book}')
    options = ("--on", "slurm", "--budget", "0.05", "--yes")
    client = cli.start("run", job, *options, **slurm.environment)
    killed = []
    victims = chance.choice([["controller"], ["client"], ["client", "controller"]])
    try:
        client.wait(timeout=chance.uniform(0.3, 5.0))
    except TimeoutExpired:
        killed = victims
    if "client" in killed:
        os.kill(client.pid, signal.SIGKILL)
    if "controller" in killed:
        slurm.kill_controller()
        with suppress(TimeoutExpired):
            client.wait(timeout=chance.uniform(0.0, 3.0))
        slurm.start_controller()
    wait_for(lambda: _ended(client, slurm))
    client.communicate()
    _settle(cli, slurm)
    runs = open_ledger(cli.home).runs()
    assert open_ledger(cli.home).verify() is None
    # A controller that forgot that a job was cancelled starts it, and it finds its box marked.
    tokens = [attempt.token for run in runs for attempt in run.attempts]
    wait_for(lambda: not any(_listed(token, slurm) for token in tokens))
    _check(book.read_text().splitlines() if book.exists() else [], runs, seed)
    return killed


def _ended(client: "Popen[str]", slurm: Slurm) -> bool:
    slurm.resume_nodes()
    with suppress(TimeoutExpired):
        client.wait(timeout=1)
    return client.returncode is not None


def _settle(cli: Cli, slurm: Slurm) -> None:
    """As somebody does who finds that a client died: reconcile, until nothing is open."""

    def settled() -> bool:
        if open_ledger(cli.home).open_runs():
            slurm.resume_nodes()
            cli("reconcile", **slurm.environment)
        return not open_ledger(cli.home).open_runs()

    wait_for(settled)


def _listed(token: str, slurm: Slurm) -> str:
    slurm.resume_nodes()
    return slurm("squeue", "-h", f"--name={token}", "-o", "%T")


def _check(book: Sequence[str], runs: Sequence[Run], seed: int) -> None:
    begun = [line.split()[1] for line in book if line.startswith("begins")]
    assert len(begun) == len(set(begun)), f"{seed}: an attempt started twice: {book}"
    # A run's attempts are never beside each other.
    ended = [line.split()[1] for line in book if line.startswith("ends")]
    assert len(runs) <= 1
    for run in runs:
        assert run.reserved_usd == 0
        assert run.spent_usd <= run.cap_usd == Decimal("0.05")
        done = run.outcome == "succeeded"
        assert not done or ended[-1:] == [run.attempt.token], (seed, run.outcome, book)
        for attempt in run.attempts:
            assert attempt.charged_usd <= attempt.worst_usd
            # Whoever worked was charged for it.
            assert attempt.token not in ended or attempt.charged_usd > 0, (seed, run)
