"""Pipelines whose client and carriers are killed with -9 at random points of a six-stage DAG:

on this machine, and with two of its stages on machines of a loopback cloud.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest
from tests.support.campaign import FULL, figures, size
from tests.support.dags import GO, SIX, dag, expected, ran
from tests.support.indexed import indexed
from tests.support.mlbroker import Cli, processes_with, wait_for
from tests.support.vendors import VENDORS, Vendor, vendor_named

from mlbroker.broker.clouds import opener
from mlbroker.broker.ledger import Run, Share, open_ledger
from mlbroker.broker.ledger.facts import Fact
from mlbroker.broker.ledger.state import step
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.reconcile import Did, Reconciler

BUDGET_USD = Decimal("0.5")
RENTED_BUDGET_USD = Decimal(3)
# Beside stages here, one that two others wait for and one that two lead to.
RENTED = ("b", "e")
MEASURED = "measurements.db"
WORDS = {b"background": "carrier", b"from mlbroker": "client"}


def test_kill_9_of_clients_and_carriers_of_pipelines(tmp_path: Path) -> None:
    rounds, least = size(2, 80), size(2, 200)
    undisturbed = Cli(tmp_path / "undisturbed")
    done = undisturbed("run", dag(undisturbed.folder, SIX), *GO, "--budget", BUDGET_USD)
    assert done.returncode == 0, done.stderr
    with figures("pipeline-kills") as kept, ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda seed: one_round(tmp_path, seed), range(rounds)))
        kills = sum((each for each, _ in found), Counter[str]())
        at = Counter(begun for _, points in found for begun in points)
        kept |= {
            "pipelines": rounds, "kills": dict(kills), "overspend": 0, "orphans": 0,
            "stages done twice or not": 0,
            "kills by stages begun": " ".join(str(at[n]) for n in range(len(SIX) + 1)),
        }  # fmt: skip
    assert sum(kills.values()) >= least


@pytest.mark.skipif(not FULL, reason="machines that boot; one such kill is in tests/e2e")
@pytest.mark.parametrize("name", VENDORS)
def test_kill_9_of_pipelines_with_rented_stages(name: str, tmp_path: Path) -> None:
    rounds = size(0, 25)
    with figures(f"pipeline-kills-{name}") as kept:
        kills: Counter[str] = Counter()
        for seed in range(rounds):
            kills += one_rented_round(vendor_named(name), tmp_path, seed)
        kept |= {
            "pipelines": rounds, "kills": dict(kills), "overspend": 0, "orphans": 0,
            "stages done twice or not": 0,
        }  # fmt: skip
    assert sum(kills.values()) >= rounds


def one_round(folder: Path, seed: int) -> tuple[Counter[str], list[int]]:
    """One pipeline, killed here and there, resumed until it is done, and held to every promise.

    What was killed, and how many stages had begun then. Every second one knows how long its stages
    take, so that they run side by side.
    """
    chance = random.Random(seed)
    cli = Cli(folder / str(seed))
    path = dag(cli.folder, SIX, 0.3)
    if seed % 2:
        cli.home.mkdir(mode=0o700)
        shutil.copy(folder / "undisturbed" / "home" / MEASURED, cli.home / MEASURED)
    words = ("run", path, *GO, "--budget", BUDGET_USD)
    kills, points = _killed_until_done(cli, words, chance)
    _check(cli, BUDGET_USD)
    shutil.rmtree(cli.folder, ignore_errors=True)
    return kills, points


def one_rented_round(vendor: Vendor, folder: Path, seed: int) -> Counter[str]:
    """The same, with stages on machines of a loopback cloud, which are real processes."""
    chance = random.Random(seed)
    cli = Cli(folder / f"rented{seed}")
    indexed(cli.home)
    place = vendor.runs.candidates[0]
    machine = {"infra": place.cloud, "instance_type": place.instance_type, "use_spot": False}
    rented = {
        name: {
            "resources": {**machine, "disk_size": 20},
            "broker": {"needs": SIX[name], "work": {"hours": 0.01, "on": place.instance_type}},
            "envs": {"RAN": str(cli.folder / "work" / "ran")},
        }
        for name in RENTED
    }
    path = dag(cli.folder, SIX, 0.3, {"budget": f"{RENTED_BUDGET_USD} USD"}, **rented)
    words = ("run", path, *GO, "--budget", RENTED_BUDGET_USD)
    with vendor.serving(execute=True) as world, pytest.MonkeyPatch.context() as patch:
        world.control.machines.boot_s = world.control.machines.shutdown_s = 0.05
        account = vendor.environment(world.url, cli.folder / "account")
        for variable, value in account.items():
            patch.setenv(variable, value)
        kills, _ = _killed_until_done(cli, words, chance, **account)
        _check(cli, RENTED_BUDGET_USD)
        assert [vm for vm in world.vms() if vm.works] == []
        clouds = Counter(run.attempt.cloud for run in open_ledger(cli.home).runs())
        assert clouds[place.cloud] >= len(RENTED)
        for run in open_ledger(cli.home).runs():
            assert vendor.runs(cli.home, world, None).leftovers(run.run_id) == []
    shutil.rmtree(cli.folder, ignore_errors=True)
    return kills


def _killed_until_done(
    cli: Cli, words: Iterable[object], chance: random.Random, **account: str
) -> tuple[Counter[str], list[int]]:
    """What was killed on the way to the pipeline's end, and how many stages had begun then."""
    client = cli.start(*words, **account)
    kills: Counter[str] = Counter()
    points: list[int] = []
    # Points spread over the whole life, of which most would else be the program's start.
    for begun in sorted(chance.choices(range(len(SIX) + 1), k=chance.randint(2, 4))):
        _until_begun(cli, client, begun)
        time.sleep(chance.uniform(0.0, 1.0))
        at = _begun(cli)
        killed = _kill(cli, chance)
        kills += killed
        points += [at] * sum(killed.values())
        if client.poll() is not None:
            _until_it_can_begin(cli)
            client = cli.start(*_going_on(cli, words), **account)
    client.communicate()
    for _ in range(4):
        if expected_is_there(cli):
            break
        _until_it_can_begin(cli)
        cli(*_going_on(cli, words), **account)
    return kills, points


def expected_is_there(cli: Cli) -> bool:
    """Whether the last stage is done; with what it was to be given."""
    runs = [run for run in open_ledger(cli.home).runs() if run.job == "f"]
    return bool(runs) and runs[-1].outcome == "succeeded"


def _going_on(cli: Cli, words: Iterable[object]) -> list[object]:
    """Without a new cap: it goes on with what is left; a new pipeline where none has begun."""
    if not _begun(cli):
        return list(words)
    return [*list(words)[:-2], "--resume", "last"]


def _begun(cli: Cli) -> int:
    return len(open_ledger(cli.home).runs()) if (cli.home / "ledger.db").exists() else 0


def _until_begun(cli: Cli, client: "subprocess.Popen[str]", number: int) -> None:
    wait_for(lambda: client.poll() is not None or _begun(cli) >= number)


def _kill(cli: Cli, chance: random.Random) -> Counter[str]:
    """The client, a carrier, or all of both at once."""
    kinds: dict[str, list[int]] = {}
    for pid in processes_with(str(cli.home)):
        with suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
            kind = next((kind for word, kind in WORDS.items() if word in line), None)
            if kind is not None and b"guest.pyz" not in line:
                kinds.setdefault(kind, []).append(pid)
    if not kinds:
        return Counter()
    every = chance.random() < 0.3
    wanted = sorted(kinds) if every else [chance.choice(sorted(kinds))]
    for kind in wanted:
        for pid in kinds[kind]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return Counter(wanted)


def _until_it_can_begin(cli: Cli) -> None:
    """A client that was killed is gone, and its lock with it."""
    wait_for(
        lambda: not any(b"from mlbroker" in _line(pid) for pid in processes_with(str(cli.home)))
    )


def _line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _check(cli: Cli, budget_usd: Decimal) -> None:
    reconcile = Reconciler(open_ledger(cli.home), opener(cli.home), Clock(), cli.home)
    assert all(finding.did is not Did.UNREACHABLE for finding in reconcile())
    ledger = open_ledger(cli.home)
    wait_for(lambda: all(run.settled for run in ledger.runs()))
    assert ledger.verify() is None
    wait_for(lambda: not processes_with(str(cli.home)))
    _held_to_one_cap(ledger.facts(), budget_usd)
    done = [run for run in ledger.runs() if run.outcome == "succeeded"]
    assert sorted(run.job for run in done) == sorted(SIX)
    assert sorted(ran(cli.folder)) == sorted(f"{n} {w}" for n in SIX for w in ("begins", "ends"))
    [last] = [run for run in done if run.job == "f"]
    outputs = RunFolder.of(cli.home, last.run_id).outputs
    assert (outputs / "out.txt").read_text() == expected("f")
    [whole_id] = {share.whole_id for run in done if (share := Share.of(run.details))}
    assert whole_id.startswith("pl-")


def _held_to_one_cap(facts: Iterable[Fact], budget_usd: Decimal) -> None:
    """After every single fact: what is spent, and what may yet be, by all runs of the pipeline."""
    runs: dict[str, Run] = {}
    caps = set()
    for fact in facts:
        if fact.run_id:
            runs[fact.run_id] = run = step(runs.get(fact.run_id), fact)
            share = Share.of(run.details)
            assert share is not None
            caps.add(share.cap)
            assert sum(run.held_usd for run in runs.values()) <= budget_usd
    assert len(caps) == 1
