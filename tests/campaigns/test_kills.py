"""Clients killed with -9: at random boundaries on the simulator, at random moments on real jobs."""

import os
import random
import shutil
import signal
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.support.campaign import figures, size
from tests.support.forks import die, in_fork, wait
from tests.support.mlbroker import Cli, processes_with, wait_for
from tests.support.sim_runs import SimRuns
from tests.support.simulator import Service, SimCloud

from mlbroker.broker.clouds import opener
from mlbroker.broker.ledger import Ledger, open_ledger
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.reconcile import Did, Reconciler


class Deadly:
    """Kills its process at the n-th boundary, before or after any side effect."""

    def __init__(self, at: int) -> None:
        self._left = at

    def step(self) -> None:
        self._left -= 1
        if self._left == 0:
            die()

    @contextmanager
    def around(self) -> Any:
        self.step()
        yield
        self.step()


class DeadlyLedger(Ledger):
    deadly: Deadly

    def append(self, *arguments: Any) -> Any:
        with self.deadly.around():
            return super().append(*arguments)


class DeadlyCloud(SimCloud):
    deadly: Deadly

    @contextmanager
    def _call(self, name: str) -> Any:
        with self.deadly.around(), super()._call(name) as world:
            yield world


def deadly_runs(sim: SimRuns, at: int) -> SimRuns:
    """The same state folder and vendor, through a ledger and a cloud that kill."""

    class DeadlyRuns(SimRuns):
        @property
        def ledger(self) -> Ledger:
            ledger = DeadlyLedger(super().ledger._storage)
            ledger.deadly = deadly
            return ledger

    deadly = Deadly(at)
    runs = DeadlyRuns(sim.home, sim.service)
    cloud = DeadlyCloud(sim.service)
    cloud.deadly = deadly
    runs.cloud = cloud
    return runs


def test_kill_9_at_random_boundaries_of_client_and_reconcilers(tmp_path: Path) -> None:
    rounds = size(25, 1000)
    kills = 0
    with figures("kill-boundaries") as kept:
        for seed in range(rounds):
            chance = random.Random(seed)
            folder = tmp_path / str(seed)
            folder.mkdir()
            sim = SimRuns(folder / "home", Service(folder / "vendor"))
            with sim.service.world() as world:
                world.job_s = chance.choice([1.0, 30.0, 500.0])
                world.hidden_s = chance.choice([0.0, 0.0, 15.0])
                world.failing_deletes = chance.choice([0, 0, 2])
                world.no_capacity = set(chance.sample(["small", "medium"], chance.randint(0, 2)))
                for call in ("create", "find", "status", "terminate", "report"):
                    world.lost_after[call] = chance.choice([0, 0, 0, 1, 2])
            sim.reserve()
            client = deadly_runs(sim, chance.randint(1, 90))
            kills += wait(in_fork(lambda c=client: c.driver(secrets={}).drive("r1"))) == -9
            for _ in range(3):
                helper = deadly_runs(sim, chance.randint(1, 60))
                kills += wait(in_fork(lambda h=helper: h.reconcile() and None)) == -9
            sim.wind_up()
            sim.check()
        kept |= {"rounds": rounds, "kills": kills, "leaks": 0, "double launches": 0}
    assert kills > rounds


def test_kill_9_at_random_moments_of_real_runs(tmp_path: Path) -> None:
    """The client of a job on this machine dies anywhere between its start and its end."""
    rounds = size(8, 1000)
    with figures("kill-moments") as kept, ThreadPoolExecutor(4) as pool:
        killed = sum(pool.map(lambda seed: _kill_at_a_moment(tmp_path, seed), range(rounds)))
        kept |= {"rounds": rounds, "killed before the end": killed, "processes left": 0}
    assert killed > 0


def _kill_at_a_moment(folder: Path, seed: int) -> bool:
    """One run whose client is killed, unless it was quicker; held to every promise."""
    chance = random.Random(seed)
    cli = Cli(folder / str(seed))
    cli.folder.mkdir()
    mark = f"MARK={uuid.uuid4()}"
    job = cli.job(f"export {mark}; (setsid sleep 60 &); sleep 0.2; echo done")
    client = cli.start(
        "run", job, "--on", "local", "--local-price", "3600", "--budget", "60", "--yes"
    )
    killed = False
    try:
        client.wait(timeout=chance.uniform(0.05, 1.2))
    except subprocess.TimeoutExpired:
        os.kill(client.pid, signal.SIGKILL)
        killed = True
    client.communicate()
    wait_for(lambda: not processes_with(mark))
    ledger = open_ledger(cli.home)
    reconcile = Reconciler(ledger, opener(cli.home), Clock(), cli.home)
    assert all(finding.did is not Did.UNREACHABLE for finding in reconcile())
    # The watchdog may be settling it at this very moment.
    wait_for(lambda: all(run.settled for run in ledger.runs()))
    runs = ledger.runs()
    assert len(runs) <= 1
    for run in runs:
        assert run.reserved_usd == 0
        assert run.spent_usd <= Decimal(60)
    assert ledger.verify() is None
    shutil.rmtree(cli.folder, ignore_errors=True)  # its settler may still be sweeping
    return killed
