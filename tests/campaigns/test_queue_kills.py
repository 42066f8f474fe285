"""Clients in a queue killed with -9 at random moments: nobody starts twice, no place is shared."""

import os
import random
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import Popen, TimeoutExpired

from tests.support.campaign import figures, size
from tests.support.mlbroker import Cli, wait_for

from mlbroker.broker.clouds import opener
from mlbroker.broker.ledger import Run, State, open_ledger
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.reconcile import Reconciler

NODE = """
nodes:
  - name: box
    count: 1
    hardware: {vcpus: 2, memory_gib: 8}
    price_per_hour_usd: 1
"""
RUNS = 5


def test_kill_9_of_clients_in_a_queue(tmp_path: Path) -> None:
    rounds = size(3, 170)
    with figures("queue-kills") as kept, ThreadPoolExecutor(2) as pool:
        kills = sum(pool.map(lambda seed: _round(tmp_path, seed), range(rounds)))
        kept |= {"rounds": rounds, "kills": kills, "double starts": 0, "lost runs": 0}
    assert kills >= rounds


def _round(folder: Path, seed: int) -> int:
    """Runs for one place, some of whose clients are killed while they wait, start or watch."""
    chance = random.Random(seed)
    cli = Cli(folder / str(seed))
    cli.home.mkdir(mode=0o700, parents=True)
    (cli.home / "nodes.yaml").write_text(NODE)
    gate, book = cli.folder / "gate", cli.folder / "book"
    first = cli.start("run", _job(cli, f"while [ ! -e {gate} ]; do sleep 0.1; done", 0), *_HERE)
    _wait_for_runs(cli, 1)
    clients = [first]
    for number in range(1, RUNS + 1):
        work = f"echo begins {number} >> {book}; sleep 0.3; echo ends {number} >> {book}"
        clients.append(cli.start("run", _job(cli, work, number), *_HERE))
        _wait_for_runs(cli, number + 1)
    gate.touch()
    kills = 0
    for client in chance.sample(clients[1:], chance.randint(1, 3)):
        kills += _killed(client, chance.uniform(0.0, 2.5))
        _reconcile(cli)
    for client in clients:
        client.communicate()
    _reconcile(cli)
    ledger = open_ledger(cli.home)
    runs = wait_for(lambda: all(r.settled for r in ledger.runs()) and ledger.runs())
    assert ledger.verify() is None
    assert len(runs) == RUNS + 1
    _check(book.read_text().splitlines() if book.exists() else [], runs)
    return kills


_HERE = ("--on", "box", "--yes")


def _job(cli: Cli, work: str, number: int) -> Path:
    return cli.job(work, f"job{number}", broker={"budget": "1 USD"})


def _wait_for_runs(cli: Cli, count: int) -> None:
    ledger = open_ledger(cli.home)
    wait_for(lambda: len(ledger.runs()) == count)


def _killed(client: "Popen[str]", after_s: float) -> bool:
    try:
        client.wait(timeout=after_s)
    except TimeoutExpired:
        os.kill(client.pid, signal.SIGKILL)
        return True
    return False


def _reconcile(cli: Cli) -> None:
    list(Reconciler(open_ledger(cli.home), opener(cli.home), Clock(), cli.home)())


def _check(book: Sequence[str], runs: Sequence[Run]) -> None:
    """The jobs' own word on when they worked, beside the ledger's."""
    begun = [line.split()[1] for line in book if line.startswith("begins")]
    assert len(begun) == len(set(begun)), f"twice: {book}"
    # Each ends before the next begins: one place.
    expected = [f"{word} {number}" for number in begun for word in ("begins", "ends")]
    assert list(book) == expected
    assert begun == sorted(begun), f"out of order: {book}"
    for number, run in enumerate(runs):
        assert run.state is State.SETTLED
        if number:
            done = run.outcome == "succeeded"
            assert done == (str(number) in begun), (number, run.outcome, book)
