"""A job that ended has ended: whatever its files or the disks are like, and it is not run again."""

import os
import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.mlbroker import Cli, wait_for
from tests.support.sim_runs import SimRuns
from tests.support.simulator import SimCloud

from mlbroker.broker.cli.run_carry import report
from mlbroker.broker.clouds.guest_report import End, Report
from mlbroker.broker.clouds.interface import Denied, Intent
from mlbroker.broker.errors import InputError
from mlbroker.broker.guest.packing import pack
from mlbroker.broker.ledger import State
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.launch import bring_checkpoint


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def outputs(cli: Cli) -> Path:
    (row,) = cli.ledger()
    assert row["outcome"] == "succeeded"
    return cli.home / "runs" / str(row["run_id"]) / "outputs"


def test_what_cannot_be_packed_is_named_and_the_rest_comes_home(cli: Cli) -> None:
    job = cli.job(
        'cd "$MLBROKER_OUTPUT_DIR" && echo 42 > f && ln f second && mkfifo pipe '
        "&& ln -s nowhere dangling && ln -s / root && ln -s f linked && echo junk > ../outputs.tar"
    )
    answer = cli.run_local(job)
    assert answer.returncode == 0, answer.stderr
    found = outputs(cli)
    assert sorted(path.name for path in found.iterdir()) == ["f", "linked", "second"]
    assert {path.read_text() for path in found.iterdir()} == {"42\n"}
    for name in ("pipe", "dangling", "root"):
        assert name in answer.stderr


def test_outputs_that_are_a_link_to_another_disk_come_home(cli: Cli, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    job = cli.job(
        f"mkdir {scratch} && echo m > {scratch}/model && rmdir $MLBROKER_OUTPUT_DIR "
        f"&& ln -s {scratch} $MLBROKER_OUTPUT_DIR"
    )
    assert cli.run_local(job).returncode == 0
    assert (outputs(cli) / "model").read_text() == "m\n"


def test_a_job_that_fills_its_disk_to_the_brim_is_run_once_and_its_outputs_come_home(
    cli: Cli,
) -> None:
    machines = cli.home / "machines"
    machines.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(machines)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("needs root, to mount a small file system")
    try:
        job = cli.job(
            'head -c 6000000 /dev/zero > "$MLBROKER_OUTPUT_DIR/model"; echo before; '
            'cat /dev/zero > "$MLBROKER_OUTPUT_DIR/../filler" 2>/dev/null; seq 20000; '
            'rm "$MLBROKER_OUTPUT_DIR/../status.json"; cat /dev/zero >> '
            '"$MLBROKER_OUTPUT_DIR/../filler" 2>/dev/null; exit 0'
        )
        answer = cli.run_local(job)
        assert answer.returncode == 0, answer.stderr
        assert (outputs(cli) / "model").stat().st_size == 6_000_000
        assert "bytes of the job's output are in no log: the machine's disk was full" in (
            answer.stderr
        )
        (row,) = cli.ledger()
        assert row["attempts"] == 1
    finally:
        subprocess.run(["umount", "-l", str(machines)], check=True)


def test_one_is_asked_to_stop_on_a_full_disk(cli: Cli) -> None:
    machines = cli.home / "machines"
    machines.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(machines)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("needs root, to mount a small file system")
    try:
        assert cli.run_local(cli.job("echo begun; sleep 300"), "--detach").returncode == 0
        # Not before: a machine without room for the command's script cannot run it.
        wait_for(lambda: any(b"begun" in log.read_bytes() for log in machines.glob("*/log")))
        with open(machines / "filler", "wb", buffering=0) as filler, suppress(OSError):
            while filler.write(b"x" * 4096):
                pass
        answer = cli("stop", "--all")
        assert answer.returncode == 0, answer.stderr
        assert [row["outcome"] for row in cli.ledger()] == ["stopped"]
    finally:
        subprocess.run(["umount", "-l", str(machines)], check=True)


def test_nothing_is_resumed_from_nothing(tmp_path: Path) -> None:
    earlier, later = RunFolder.of(tmp_path, "r1"), RunFolder.of(tmp_path, "r2")
    earlier.path.mkdir(parents=True)
    (tmp_path / "ckpt").mkdir()
    with open(earlier.checkpoint, "wb") as stream:
        pack(str(tmp_path / "ckpt"), stream)
    with pytest.raises(InputError, match="holds no file"):
        bring_checkpoint(earlier, later)
    earlier.checkpoint.write_text("junk")
    with pytest.raises(InputError, match="holds no file"):
        bring_checkpoint(earlier, later)
    (tmp_path / "ckpt" / "w").write_text("w")
    with open(earlier.checkpoint, "wb") as stream:
        pack(str(tmp_path / "ckpt"), stream)
    bring_checkpoint(earlier, later)
    assert later.checkpoint.read_bytes() == earlier.checkpoint.read_bytes()


@pytest.fixture
def sim(tmp_path: Path) -> SimRuns:
    return SimRuns(tmp_path)


@pytest.mark.parametrize(("code", "outcome"), [(0, "succeeded"), (3, "failed")])
def test_a_machine_taken_away_while_its_files_travel_is_not_replaced(
    sim: SimRuns, code: int, outcome: str
) -> None:
    with sim.service.world() as world:
        world.job_s, world.job_code, world.packing_s = 30.0, code, 600.0
    sim.reserve()
    driver = sim.driver(secrets={})
    while driver.advance("r1").state is not State.RUNNING:
        pass
    sim.service.sleep(60)
    assert driver.advance("r1").state is State.RUNNING, "its files are still on their way"
    assert sim.service.preempt()
    run = driver.drive("r1")
    assert (run.outcome, run.exit_code, len(run.attempts)) == (outcome, code, 1)
    sim.check()


def test_a_move_that_comes_too_late_moves_nothing(sim: SimRuns) -> None:
    class Deaf(SimCloud):
        """The job has ended, and the machine is busy with its files for ever."""

        def report(self, intent: Intent) -> Report:
            return replace(super().report(intent), end=None, ended=End("finished", 0))

    sim.cloud = Deaf(sim.service)
    sim.reserve()
    driver = sim.driver(secrets={})
    while driver.advance("r1").state is not State.RUNNING:
        pass
    sim.ledger.append(sim.service.now(), "r1", "stop_requested", {"why": "move", "by": "mlbroker"})
    run = driver.drive("r1")
    assert (run.outcome, len(run.attempts)) == ("succeeded", 1)


def test_of_a_torn_archive_all_is_kept_that_came(sim: SimRuns, tmp_path: Path) -> None:
    left = tmp_path / "left"
    left.mkdir()
    (left / "a").write_text("whole")
    (left / "b").write_bytes(os.urandom(5000))

    class Torn(SimCloud):
        """Its outputs stop short."""

        def fetch(self, intent: Intent, name: str, target: Path, rank: int = 0) -> bool:
            if name != "outputs.tar":
                return False
            with open(target, "wb") as stream:
                pack(str(left), stream)
                stream.truncate(4000)
            return True

    sim.cloud = Torn(sim.service)
    run = sim.launch()
    assert run.outcome == "succeeded"
    folder = RunFolder.of(sim.home, "r1")
    assert (folder.outputs / "a").read_text() == "whole"
    assert not (folder.outputs / "b").exists()
    assert (folder.path / "outputs.1.tar").stat().st_size == 4000


def test_outputs_that_could_not_be_fetched_are_not_said_to_be_none(
    sim: SimRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    class Barred(SimCloud):
        """Its files may not be read."""

        def fetch(self, intent: Intent, name: str, target: Path, rank: int = 0) -> bool:
            raise Denied("the bucket may not be read")

    sim.cloud = Barred(sim.service)
    report(sim.launch(), RunFolder.of(sim.home, "r1"), json=False)
    assert "Outputs: not brought home: checkpoint.tar, outputs.1.tar" in capsys.readouterr().err


def test_what_a_background_process_warned_of_is_shown_with_the_log(cli: Cli) -> None:
    job = cli.job('echo done; mkfifo "$MLBROKER_OUTPUT_DIR/pipe"')
    assert cli.run_local(job, "--detach").returncode == 0
    wait_for(lambda: cli.ledger()[0]["outcome"])
    answer = cli("logs")
    assert answer.stdout == "done\n"
    assert "pipe" in answer.stderr
