"""Clients killed with -9: at random boundaries on the simulator, at random moments on real jobs."""

import os
import random
import signal
import uuid
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.support.campaign import figures, size
from tests.support.forks import die, in_fork, wait
from tests.support.mlbroker import Cli, processes_with, wait_for
from tests.support.sim_runs import SimRuns
from tests.support.simulator import Service, SimCloud

from mlbroker.broker.ledger import Ledger


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
    early = late = 0
    with figures("kill-moments") as kept:
        for seed in range(rounds):
            chance = random.Random(seed)
            cli = Cli(tmp_path / str(seed))
            cli.folder.mkdir()
            mark = f"MARK={uuid.uuid4()}"
            job = cli.job(f"export {mark}; (setsid sleep 60 &); sleep 0.2; echo done")
            client = cli.start(
                "run", job, "--on", "local", "--local-price", "3600", "--budget", "20", "--yes"
            )
            try:
                client.wait(timeout=chance.uniform(0.05, 0.9))
                late += 1
            except Exception:
                os.kill(client.pid, signal.SIGKILL)
                early += 1
            client.communicate()
            wait_for(lambda m=mark: not processes_with(m), 30)
            answer = cli("reconcile")
            assert answer.returncode == 0, answer.stderr
            wait_for(lambda c=cli: all(row["state"] == "settled" for row in c.ledger()))
            rows = cli.ledger()
            assert len(rows) <= 1
            for row in rows:
                assert row["reserved_usd"] == "0"
                assert Decimal(row["spent_usd"]) <= 20
            assert cli("ledger", "verify").returncode == 0
        kept |= {"rounds": rounds, "killed": early, "ended before": late, "processes left": 0}
    assert early > 0
