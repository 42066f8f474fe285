"""Whose processes are the run's, and that nobody else's are ever touched."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.mlbroker import PATIENCE_S, wait_for

from mlbroker.broker.guest.processes import boot_clock, cpu_seconds, end_all, members


def spawn(token: str, script: str = "sleep 60") -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        ["sh", "-c", script],
        env={"PATH": os.environ["PATH"], "MLBROKER_TOKEN": token},
        start_new_session=True,
    )


@pytest.fixture
def token(tmp_path: Path) -> str:
    return f"mlb-test-{os.getpid()}-{tmp_path.name}"


def test_only_processes_of_the_token_are_found_and_ended(token: str) -> None:
    marker = f"MLBROKER_TOKEN={token}".encode()
    ours, longer, other = spawn(token), spawn(token + "2"), spawn("mlb-somebody-else-1")
    wait_for(lambda: ours.pid in members(marker, mine=False))
    found = members(marker, mine=False)
    assert longer.pid not in found
    assert other.pid not in found
    assert os.getpid() not in found
    assert not found & {0, 1, os.getppid()}
    assert end_all(marker, mine=False)
    assert ours.wait(timeout=PATIENCE_S) == -9
    for process in (longer, other):
        assert process.poll() is None
        process.kill()
        process.wait()


@pytest.mark.parametrize("marker", [b"", b"MLBROKER_TOKEN=", b"PATH=/usr/bin:/bin:/usr/local"])
def test_a_marker_that_names_no_run_ends_nothing(marker: bytes) -> None:
    with pytest.raises(ValueError, match="must name a run"):
        members(marker, mine=True)
    with pytest.raises(ValueError, match="must name a run"):
        end_all(marker, mine=False)


def test_a_fork_bomb_is_outrun(token: str) -> None:
    marker = f"MLBROKER_TOKEN={token}".encode()
    # Each child goes on to fork; together they stay below the machine's limits.
    bomb = spawn(token, "i=0; while [ $i -lt 60 ]; do (sleep 60 &); i=$((i+1)); done; sleep 60")
    wait_for(lambda: len(members(marker, mine=False)) > 5)
    assert end_all(marker, mine=False)
    assert members(marker, mine=False) == set()
    bomb.wait(timeout=PATIENCE_S)


def test_children_of_this_process_are_found_without_any_marker() -> None:
    """In a process of its own: its children are not the test runner's."""
    script = (
        "import os, subprocess, sys\n"
        "from mlbroker.broker.guest.processes import adopt_orphans, end_all, members\n"
        "assert adopt_orphans()\n"
        "marker = b'MLBROKER_TOKEN=mlb-nobody-at-all'\n"
        "plain = {'PATH': os.environ['PATH']}\n"
        "subprocess.run(['sh', '-c', 'setsid sleep 60 &'], env=plain)\n"
        "assert len(members(marker, mine=True)) == 1, members(marker, mine=True)\n"
        "assert members(marker, mine=False) == set()\n"
        "assert end_all(marker, mine=True)\n"
        "assert members(marker, mine=True) == set()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_time_since_boot_does_not_stand_still() -> None:
    before = boot_clock()
    wait_for(lambda: boot_clock() > before)


def test_cpu_time_is_counted() -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    wait_for(lambda: cpu_seconds({busy.pid}) > 0.1)
    busy.kill()
    busy.wait()
    assert cpu_seconds({busy.pid}) == 0
