"""Studies whose client, lanes and guests are killed with -9 at random moments."""

import json
import os
import random
import shutil
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.support.campaign import FULL, figures, size
from tests.support.indexed import indexed
from tests.support.mlbroker import Cli, processes_with, wait_for
from tests.support.studies import TRAIN, AStudy
from tests.support.vendors import VENDORS, Vendor, vendor_named

from mlbroker.broker.app.tune_lanes import open_lanes
from mlbroker.broker.clouds import opener
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.reconcile import Did, Reconciler

BUDGET_USD = Decimal("0.5")
TRIALS = 9
TUNE = {
    "metric": "acc",
    "goal": "maximize",
    "space": {"X": ["0", "1.0"]},
    "resource": {"max": 9},
    "trials": TRIALS,
    "parallel": 2,
}
GO = ("--local-price", "1", "--yes")


class Outcome(NamedTuple):
    """What a study whose processes were killed came to, and an undisturbed one of its seed."""

    kills: Counter[str]
    best: float
    undisturbed: float


def test_kill_9_of_clients_lanes_and_guests_of_studies(tmp_path: Path) -> None:
    rounds = size(3, 700)
    with figures("tuning-kills") as kept, ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda seed: one_round(tmp_path, seed), range(rounds)))
        kept |= told(found)
    assert sum(sum(each.kills.values()) for each in found) >= rounds


@pytest.mark.skipif(not FULL, reason="machines that boot; one such kill is in tests/e2e")
@pytest.mark.parametrize("name", VENDORS)
def test_kill_9_of_clients_and_lanes_of_studies_on_a_cloud(name: str, tmp_path: Path) -> None:
    studies = size(0, 100)
    with figures(f"tuning-kills-{name}") as kept:
        kills: Counter[str] = Counter()
        for seed in range(studies):
            kills += one_rented_round(vendor_named(name), tmp_path, seed)
        kept |= {"studies": studies, "kills": dict(kills), "overspend": 0, "orphans": 0}


def one_rented_round(vendor: Vendor, folder: Path, seed: int) -> Counter[str]:
    """The same on a loopback cloud, whose machines are real processes."""
    chance = random.Random(seed)
    cli = Cli(folder / f"rented{seed}")
    work = cli.folder / "work"
    work.mkdir(parents=True)
    (work / "train.py").write_text("import time; time.sleep(0.5)\n" + TRAIN)
    indexed(cli.home)
    checkpoint = {"path": "ckpt/", "every": "5m"}
    path = cli.job(
        f"{sys.executable} train.py", name="net", workdir=str(work),
        envs={"MARK": str(cli.folder)}, resources={"cpus": "2+", "disk_size": 20},
        broker={"work": {"steps": 9}, "checkpoint": checkpoint, "tune": TUNE},
    )  # fmt: skip
    place = vendor.runs.candidates[0]
    anew = ("tune", path, "--cloud", place.cloud, "--region", place.region, "--instance-type",
            place.instance_type, "--market", "on_demand", "--searcher", "random", "--budget",
            BUDGET_USD)  # fmt: skip
    study = AStudy(cli.folder, name="net")
    with vendor.serving(execute=True) as world, pytest.MonkeyPatch.context() as patch:
        world.control.machines.boot_s = world.control.machines.shutdown_s = 0.05
        account = vendor.environment(world.url, cli.folder / "account")
        for variable, value in account.items():
            patch.setenv(variable, value)
        client = cli.start(*anew, "--yes", **account)
        wait_for(lambda: client.poll() is not None or open_ledger(cli.home).runs())
        kills: Counter[str] = Counter()
        for _ in range(chance.randint(1, 3)):
            time.sleep(chance.uniform(0.0, 4.0))
            kills += _kill_one(cli, chance)
        kills += resumed(cli, study, anew, chance, **account)
        client.communicate()
        _check(cli, study)
        assert [vm for vm in world.vms() if vm.works] == []
        for run in open_ledger(cli.home).runs():
            assert vendor.runs(cli.home, world, None).leftovers(run.run_id) == []
    shutil.rmtree(cli.folder, ignore_errors=True)
    return kills


def told(found: Sequence[Outcome]) -> dict[str, object]:
    """The campaign's figures; the best ones differ by no more than chance."""
    kills = sum((each.kills for each in found), Counter[str]())
    differences = [each.best - each.undisturbed for each in found]
    mean = statistics.fmean(differences)
    noise = statistics.stdev(differences) / len(found) ** 0.5 if len(found) > 1 else 1.0
    assert mean >= -3 * noise
    return {
        "studies": len(found), "kills": dict(kills), "overspend": 0, "orphans": 0,
        "results lost or twice": 0, "best against undisturbed": f"{mean:+.4f} ± {noise:.4f}",
    }  # fmt: skip


def one_round(folder: Path, seed: int) -> Outcome:
    """One study, killed here and there, resumed until it is done, and held to every promise."""
    chance = random.Random(seed)
    cli = Cli(folder / str(seed))
    cli.folder.mkdir()
    (cli.folder / "train.py").write_text("import time; time.sleep(0.05)\n" + TRAIN)
    path = cli.job(
        f"{sys.executable} train.py",
        name="net",
        broker={"checkpoint": {"path": "ckpt/", "every": "5m"}, "tune": TUNE},
    )
    study = AStudy(cli.folder, name="net")
    client = cli.start(
        "tune", path, "--searcher", "random", "--seed", seed, "--budget", BUDGET_USD, *GO
    )
    kills: Counter[str] = Counter()
    wait_for(lambda: client.poll() is not None or open_ledger(cli.home).runs())
    for _ in range(chance.randint(1, 4)):
        time.sleep(chance.uniform(0.0, 1.2))
        kills += _kill_one(cli, chance)
    kills += resumed(cli, study, ("tune", path, "--searcher", "random", "--budget", BUDGET_USD),
                     chance)  # fmt: skip
    client.communicate()
    _check(cli, study)
    best = max(each.trial.score for each in study.now().trials)
    shutil.rmtree(cli.folder, ignore_errors=True)
    return Outcome(kills, best, _undisturbed(folder / f"{seed}u", seed))


def resumed(
    cli: Cli, study: AStudy, anew: Sequence[object], chance: random.Random, **account: str
) -> Counter[str]:
    """Until the study is done, the first helper killed too."""
    kills: Counter[str] = Counter()
    for attempt in range(8):
        _until_nobody_carries(cli)
        if study.record.exists and study.now().ended is not None and not _open(cli, study):
            break
        words = ("tune", "resume", "net") if study.record.exists else anew
        helper = cli.start(*words, *(GO[-1:] if account else GO), **account)
        if attempt == 0:
            time.sleep(chance.uniform(0.3, 2.0))
            kills += _kill_one(cli, chance)
        helper.communicate()
    return kills


def _kill_one(cli: Cli, chance: random.Random) -> Counter[str]:
    """One of the processes of the study, each kind as likely as another."""
    kinds: dict[str, list[int]] = {}
    for pid in {*processes_with(str(cli.home)), *processes_with(_mark(cli))}:
        if (kind := _kind(pid)) is not None:
            kinds.setdefault(kind, []).append(pid)
    if not kinds:
        return Counter()
    kind = chance.choice(sorted(kinds))
    with suppress(ProcessLookupError):
        os.kill(chance.choice(sorted(kinds[kind])), signal.SIGKILL)
    return Counter([kind])


def _mark(cli: Cli) -> str:
    """In the environment of rented lanes, whose machines know nothing of the state folder."""
    return f"MARK={cli.folder}"


def _kind(pid: int) -> str | None:
    """None: a trial that is killed is a bad point, as one out of memory is."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    for word, kind in ((b"tuning.lane", "lane"), (b"lane.batch", "rented lane"),
                       (b"guest.pyz", "guest"),
                       (b"background", "carrier"), (b"from mlbroker", "client")):  # fmt: skip
        if word in line:
            return kind
    return None


def _open(cli: Cli, study: AStudy) -> bool:
    return bool(open_lanes(study.record, cli.home))


def _until_nobody_carries(cli: Cli) -> None:
    """Lanes go on without their client, and settle; or wait for somebody to take them up."""

    def free() -> bool:
        runs = open_ledger(cli.home).open_runs()
        return not any(RunFolder.of(cli.home, run.run_id).attended() for run in runs)

    wait_for(free)


def _check(cli: Cli, study: AStudy) -> None:
    reconcile = Reconciler(open_ledger(cli.home), opener(cli.home), Clock(), cli.home)
    assert all(finding.did is not Did.UNREACHABLE for finding in reconcile())
    ledger = open_ledger(cli.home)
    wait_for(lambda: all(run.settled for run in ledger.runs()))
    assert sum(run.spent_usd for run in ledger.runs()) <= BUDGET_USD
    assert ledger.verify() is None
    wait_for(lambda: not processes_with(str(cli.home)))
    found = study.now()
    text = study.record.results.read_text()
    assert found.ended == f"{TRIALS} trials are done, and the best is a whole one", text
    assert len(found.trials) == len({str(each.point) for each in found.trials}) == TRIALS
    counted = Counter[tuple[int, int]]()
    reached = [0] * TRIALS
    for line in map(json.loads, text.splitlines()):
        if line["kind"] == "worked":
            number = line["trial"]
            counted.update((number, at) for at in range(reached[number] + 1, line["until"] + 1))
            reached[number] = line["until"]
    assert set(counted.values()) == {1}
    for number, mine in enumerate(found.trials):
        assert mine.failed is None
        assert mine.trial.reached == reached[number]
        x = float(mine.point["X"])
        for step in range(1, mine.trial.reached + 1):
            assert mine.metrics[step] == pytest.approx(x * step / 9), (number, step, text)


def _undisturbed(folder: Path, seed: int) -> float:
    """The best of a study of the same seed, in one lane."""
    folder.mkdir()
    study = AStudy(folder, AStudy(folder).study._replace(trials=TRIALS))
    study.begin(seed=seed)
    code, said = study.lane()
    assert code == 0, said
    best = max(each.trial.score for each in study.now().trials)
    shutil.rmtree(folder, ignore_errors=True)
    return best
