"""Runs of several machines: each one's log and outputs come home, and who failed is named."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.mlbroker import Cli
from tests.support.sim_runs import SimRuns
from tests.support.simulator import SimCloud

from mlbroker.broker.cli.run_carry import report
from mlbroker.broker.clouds.guest_report import End, Report, joint_end
from mlbroker.broker.clouds.interface import Intent
from mlbroker.broker.errors import JobFailed
from mlbroker.broker.runs.folder import RunFolder

LOGS = (b"zero\n", b"one\n", b"two\n")


class Three(SimCloud):
    """Three machines of which rank 1 fails after a while."""

    def report(self, intent: Intent) -> Report:
        found = super().report(intent)
        end = End("failed", 3, rank=1)
        return replace(
            found,
            end=end if found.end else None,
            log_bytes=len(LOGS[0]),
            other_log_bytes=(len(LOGS[1]), len(LOGS[2])),
        )

    def read_log(self, intent: Intent, offset: int, rank: int = 0) -> bytes:
        return LOGS[rank][offset:]

    def fetch(self, intent: Intent, name: str, target: Path, rank: int = 0) -> bool:
        if name != "outputs.tar":
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(target, "w") as archive:
            member = tarfile.TarInfo("made")
            member.size = 1
            archive.addfile(member, io.BytesIO(str(rank).encode()))
        return True


@pytest.fixture
def sim(tmp_path: Path) -> SimRuns:
    sim = SimRuns(Cli(tmp_path).home)
    sim.cloud = Three(sim.service)
    return sim


def test_each_machines_log_and_outputs_come_home_and_the_failing_one_is_named(
    sim: SimRuns, tmp_path: Path
) -> None:
    run = sim.launch(cap="20", nodes=3)
    assert (run.outcome, run.exit_code, run.attempt.rank) == ("failed", 3, 1)
    folder = RunFolder.of(sim.home, "r1")
    assert folder.log.read_bytes() == LOGS[0]
    assert (folder.path / "ranks" / "2" / "log").read_bytes() == LOGS[2]
    assert (folder.outputs / "made").read_text() == "0"
    assert (folder.path / "ranks" / "1" / "outputs" / "made").read_text() == "1"
    with pytest.raises(JobFailed, match="exit code 3 on rank 1") as failed:
        report(run, folder, json=False)
    assert "mlbroker logs r1 --rank 1" in str(failed.value)
    cli = Cli(tmp_path)
    assert cli("logs", "r1").stdout == "zero\n"
    assert cli("logs", "r1", "--rank", "1").stdout == "one\n"
    assert cli("logs", "r1", "--rank", "3").returncode == 2


def test_who_failed_goes_before_those_that_followed() -> None:
    done, failed = End("finished"), End("failed", 3)
    follows = End("another_failed")
    assert joint_end([follows, done, failed]) == replace(failed, rank=2)
    assert joint_end([None, failed, failed]) == replace(failed, rank=1)
    assert joint_end([done, None]) is None
    assert joint_end([done, done]) == done
