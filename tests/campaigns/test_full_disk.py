"""A machine's disk fills up at a random moment: no finished job runs again, nothing kept is lost.

A failure names its round: CAMPAIGN_SEED=n and `-k` with the test's name do it again.
"""

import json
import os
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from shutil import rmtree
from typing import Any

from tests.support.campaign import figures, seeds
from tests.support.forks import in_fork, wait
from tests.support.hostile_boxes import own_machines
from tests.support.mlbroker import processes_with, wait_for
from tests.support.small_disk import SmallDisk, enter_own_mounts

from mlbroker.broker.clouds.local import LocalCloud
from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.ledger import Ledger, Run, open_ledger
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.launch import reserve, worst_case
from mlbroker.broker.runs.order import Order
from mlbroker.broker.runs.reconcile import Reconciler
from mlbroker.broker.runs.view import View

WORKERS = 4
CAP = 50
# What the job does between its start and its end; each may fail for want of room.
WORK = {
    "outputs": "keep model.bin {bytes}; keep deep/er/log.txt 1000",
    "many outputs": "for n in $(seq 40); do keep part$n {less}; done",
    "a long log": "yes 'a line of the log' | head -c {bytes}",
    "checkpoints": "for n in 1 2 3; do head -c {less} /dev/urandom > ckpt/state; sleep 0.1; done",
    "its own files": "head -c {bytes} /dev/zero > $MLBROKER_OUTPUT_DIR/../scratch",
    "nothing": "sleep 0.2",
}
# What is written outside of the small disk is what happened. `keep` tells of a file as it is whole.
SCRIPT = """
tell() {{ echo "$@" >> {trace}; }}
keep() {{
  mkdir -p "$(dirname "$MLBROKER_OUTPUT_DIR/$1")"
  head -c "$2" /dev/urandom > "$MLBROKER_OUTPUT_DIR/$1" || return 0
  tell kept "$1" $(sha256sum < "$MLBROKER_OUTPUT_DIR/$1")
}}
mkdir -p ckpt
tell start
{work}
sleep {pause}
tell end {code}
exit {code}
"""


@dataclass
class Telling(View):
    """Keeps what somebody at the terminal would have been warned of."""

    path: Path

    def warn(self, text: str) -> None:
        with open(self.path, "a") as file:
            file.write(text + "\n")


def test_a_disk_that_is_full_at_a_random_moment(tmp_path: Path) -> None:
    numbers = list(seeds(16, 1000))
    with figures("full-disk") as kept:
        workers = [
            in_fork(lambda n=n: _work_off(tmp_path, numbers[n::WORKERS], tmp_path / f"told{n}"))
            for n in range(WORKERS)
        ]
        codes = [wait(pid) for pid in workers]
        told = [
            json.loads(line)
            for n in range(WORKERS)
            for line in (tmp_path / f"told{n}").read_text().splitlines()
        ]
        outcomes = Counter(round_["outcome"] for round_ in told)
        failed = [round_["failure"] for round_ in told if round_["failure"]]
        kept |= {"runs": len(told), "outcomes": dict(outcomes), "run again after its end": 0}
        kept |= {"said to be kept and lost": 0, "not settled": 0}
    assert not failed, "\n".join(failed[:5])
    assert codes == [0] * WORKERS
    assert len(told) == len(numbers)


def _work_off(folder: Path, numbers: list[int], told: Path) -> None:
    mounted = enter_own_mounts()
    with open(told, "w") as file:
        for seed in numbers:
            round_ = {"outcome": "", "failure": ""}
            try:
                round_["outcome"] = _round(folder / str(seed), Random(seed), mounted)
            except Exception:
                round_["failure"] = f"CAMPAIGN_SEED={seed}: {traceback.format_exc(limit=-5)}"
            file.write(json.dumps(round_) + "\n")
            file.flush()


def _round(folder: Path, chance: Random, mounted: bool) -> str:
    home, trace, warned = folder / "home", folder / "trace", folder / "warned"
    (folder / "work").mkdir(parents=True)
    home.mkdir()
    for path in (trace, warned):
        path.touch()
    # At times it is the disk that the books are kept on, too.
    whole = chance.random() < 0.2
    disk = SmallDisk(
        home if whole else home / "machines", chance.uniform(3, 8), str(folder), mounted=mounted
    )
    code = chance.choice((0, 0, 3))
    work = WORK[chance.choice(list(WORK))].format(
        bytes=int(chance.uniform(0.1, 5) * 2**20), less=int(chance.uniform(1, 300) * 2**10)
    )
    command = SCRIPT.format(
        trace=trace, work=work, code=code, pause=round(chance.uniform(0, 0.4), 2)
    )
    try:
        _launch(home, folder, command, chance.random() < 0.5)
        client = in_fork(lambda: _carry(home, warned))
        if chance.random() < 0.8:
            wait_for(lambda: trace.read_text() or _ended(client))
        time.sleep(chance.uniform(0, 0.7))
        disk.fill()
        full_until = time.monotonic() + chance.choice((0.3, 1.0, 4.0))
        while not _ended(client) and time.monotonic() < full_until:
            time.sleep(0.02)
        # Who waits for room until the kill time may wait here, too.
        disk.free()
        assert wait(client) == 0, "the client died"
        _wind_up(home, warned, disk)
        return _check(home, trace, warned, code)
    finally:
        wait_for(lambda: not processes_with(str(folder)))
        disk.gone()
        rmtree(folder, ignore_errors=True)


def _ended(pid: int) -> bool:
    """Whether it only waits for somebody to ask how it ended."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _launch(home: Path, folder: Path, command: str, checkpoint: bool) -> None:
    spec: dict[str, Any] = {"command": command, "workdir": str(folder / "work")}
    if checkpoint:
        spec["checkpoint"] = {"path": "ckpt", "every_s": 0.1}
    candidates = own_machines("local")
    order = Order("r1", "job", candidates, spec)
    worst = worst_case(candidates[0], CAP, LocalCloud.traits)  # type: ignore[arg-type]
    reserve(
        open_ledger(home), RunFolder.of(home, "r1"), order, Clock().now(), cap_usd=CAP,
        worst_usd=worst.usd, user="u", project=None, facts={},
    )  # fmt: skip


def _carry(home: Path, warned: Path) -> None:
    """The client: ends well, or with words of ours."""
    cloud, folder = LocalCloud(home), RunFolder.of(home, "r1")
    with folder.carried():
        try:
            Driver(_ledger(home), lambda _: cloud, Clock(), folder, Telling(warned), {}).drive("r1")
        except MlbrokerError as error:
            Telling(warned).warn(f"gave up: {error}")


def _wind_up(home: Path, warned: Path, disk: SmallDisk) -> None:
    def settled() -> bool:
        clock, cloud = Clock(), LocalCloud(home)
        for finding in Reconciler(_ledger(home), lambda _: cloud, clock, home, Telling(warned))():
            if "free some space" in finding.detail:
                # What the job itself left has filled the disk that the books are on.
                disk.grow()
        return all(run.settled for run in _ledger(home).runs())

    wait_for(settled, tell=lambda: warned.read_text())


def _ledger(home: Path) -> Ledger:
    return open_ledger(home)


def _check(home: Path, trace: Path, warned: Path, code: int) -> str:
    run = _ledger(home).run("r1")
    assert run is not None
    assert _ledger(home).verify() is None
    assert run.reserved_usd == 0
    assert run.spent_usd <= CAP
    lines = trace.read_text().splitlines()
    told = f"{lines}\n{warned.read_text()}\n{run}"
    ends = [number for number, line in enumerate(lines) if line.startswith("end")]
    if ends:
        assert "start" not in lines[ends[0] :], f"run again after its end: {told}"
        assert run.outcome == ("succeeded" if code == 0 else "failed"), f"its end is lost: {told}"
        assert run.exit_code == code, told
    _check_outputs(home, run, lines, warned.read_text(), told)
    return run.outcome or ""


def _check_outputs(home: Path, run: Run, lines: list[str], warned: str, told: str) -> None:
    """Every file that was whole before the last attempt's end is at home, or said not to be."""
    last = max((n for n, line in enumerate(lines) if line == "start"), default=0)
    facts = [fact for fact in _ledger(home).facts() if fact.kind == "collected"]
    missing = facts[-1].body["missing"] if facts else ["all"]
    for line in lines[last:]:
        if line.startswith("kept "):
            _, name, digest, *_ = line.split()
            path = RunFolder.of(home, "r1").outputs / name
            at_home = path.exists() and sha256(path.read_bytes()).hexdigest() == digest
            # Where there was no room to unpack it, the archive stays.
            kept = any(RunFolder.of(home, "r1").path.glob("outputs*.tar"))
            said = kept or name in warned or any("outputs" in one for one in missing)
            assert at_home or said, f"{name} is not at home, and nobody said so: {told}"
    assert not run.reserved_usd
