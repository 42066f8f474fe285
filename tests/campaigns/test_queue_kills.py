"""Clients in a queue killed with -9 at random moments: nobody starts twice, no place is shared."""

import os
import random
import signal
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import Popen, TimeoutExpired

import pytest
from tests.support.campaign import figures, size
from tests.support.mlbroker import Cli, wait_for

from mlbroker.broker.clouds import opener
from mlbroker.broker.ledger import Run, State, open_ledger
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.reconcile import Reconciler

NODE = """
  - name: box{number}
    count: 1
    hardware: {{vcpus: 2, memory_gib: 8}}
    price_per_hour_usd: 1
"""


@pytest.mark.parametrize(
    ("nodes", "runs", "rounds"), [(1, 5, size(2, 170)), (3, 9, size(1, 120))], ids=["one", "three"]
)
def test_kill_9_of_clients_in_a_queue(tmp_path: Path, nodes: int, runs: int, rounds: int) -> None:
    name = "queue-kills" if nodes == 1 else "queue-kills-on-three"
    with figures(name) as kept, ThreadPoolExecutor(2) as pool:
        kills = sum(pool.map(lambda seed: _round(tmp_path, seed, nodes, runs), range(rounds)))
        kept |= {"rounds": rounds, "kills": kills, "double starts": 0, "lost runs": 0}
    assert kills >= rounds


def _round(folder: Path, seed: int, nodes: int, runs: int) -> int:
    """Runs for one place of each node, some of whose clients are killed while they wait, start or
    watch.
    """
    chance = random.Random(seed)
    cli = Cli(folder / str(seed))
    cli.home.mkdir(mode=0o700, parents=True)
    (cli.home / "nodes.yaml").write_text(
        "nodes:" + "".join(NODE.format(number=number) for number in range(nodes))
    )
    gate, clients = cli.folder / "gate", []
    # The first of each node keeps its place until all others wait.
    at = [*range(nodes), *(chance.randrange(nodes) for _ in range(runs))]
    for number, node in enumerate(at):
        book = cli.folder / f"book{node}"
        work = f"echo begins {number} >> {book}; sleep 0.3; echo ends {number} >> {book}"
        if number < nodes:
            work = f"while [ ! -e {gate} ]; do sleep 0.1; done"
        clients.append(cli.start("run", _job(cli, work, number), "--on", f"box{node}", "--yes"))
        _wait_for_runs(cli, number + 1)
    gate.touch()
    kills = 0
    for client in chance.sample(clients[nodes:], chance.randint(runs // 5, runs * 3 // 5)):
        kills += _killed(client, chance.uniform(0.0, 2.5))
        _reconcile(cli)
    for client in clients:
        client.communicate()
    _reconcile(cli)
    ledger = open_ledger(cli.home)
    found = wait_for(lambda: all(r.settled for r in ledger.runs()) and ledger.runs())
    assert ledger.verify() is None
    assert len(found) == len(at)
    for node in range(nodes):
        book = cli.folder / f"book{node}"
        here = {number: run for number, run in enumerate(found) if at[number] == node}
        _check(book.read_text().splitlines() if book.exists() else [], here, first=node)
    return kills


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


def _check(book: Sequence[str], runs: Mapping[int, Run], first: int) -> None:
    """The jobs' own word on when they worked, beside the ledger's."""
    begun = [int(line.split()[1]) for line in book if line.startswith("begins")]
    assert len(begun) == len(set(begun)), f"twice: {book}"
    # Each ends before the next begins: one place.
    expected = [f"{word} {number}" for number in begun for word in ("begins", "ends")]
    assert list(book) == expected
    assert begun == sorted(begun), f"out of order: {book}"
    for number, run in runs.items():
        assert run.state is State.SETTLED
        if number != first:
            done = run.outcome == "succeeded"
            assert done == (number in begun), (number, run.outcome, book)
