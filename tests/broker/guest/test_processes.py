"""Whose processes are the run's, and that nobody else's are ever touched."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.mlbroker import PATIENCE_S, wait_for

from mlbroker.broker.guest.processes import boot_clock, cpu_seconds, end_all, helpers, members
from mlbroker.broker.guest.traffic import io_bytes, is_connected, network_bytes
from mlbroker.broker.guest.usage import IDLE_BYTES_PER_S, Look, moved_bytes


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


def test_who_was_started_in_the_copy_of_the_work_directory_is_ended_with_the_run(
    token: str, tmp_path: Path
) -> None:
    """As a daemon that was there before starts it: nobody's child, and without the token."""
    marker, box, elsewhere = f"MLBROKER_TOKEN={token}".encode(), tmp_path / "box", tmp_path / "e"
    (box / "work" / "below").mkdir(parents=True)
    elsewhere.mkdir()

    def started(at: Path, told: Path) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(["sleep", "60"], cwd=at, env={"PWD": str(told)})

    window = started(box / "work" / "below", box / "work" / "below")
    visitor = started(box / "work", elsewhere)
    left_it = started(elsewhere, box / "work")
    wait_for(lambda: members(marker, False, str(box)) == {window.pid})
    (box / "work").rename(tmp_path / "away")
    (box / "work").symlink_to(elsewhere)
    stranger = started(elsewhere, elsewhere)
    assert members(marker, False, str(box)) == set(), "a link leads to where others are"
    (box / "work").unlink()
    (tmp_path / "away").rename(box / "work")
    assert end_all(marker, False, str(box))
    assert window.wait(timeout=PATIENCE_S) == -9
    for process in (visitor, left_it, stranger):
        assert process.poll() is None
        process.kill()
        process.wait()


def test_who_works_on_the_jobs_folder_works_for_it(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    with open(folder / "log", "w") as log:
        inside = subprocess.Popen(["sleep", "60"], cwd=folder)
        writes = subprocess.Popen(["sleep", "60"], cwd=elsewhere, stdout=log)
        other = subprocess.Popen(["sleep", "60"], cwd=elsewhere)
    own = subprocess.Popen(["sleep", "60"], cwd=folder)
    started = [inside, writes, other, own]
    pids = {process.pid for process in started}
    wait_for(lambda: helpers(str(folder), {own.pid}) & pids == {inside.pid, writes.pid})
    for process in started:
        process.kill()
        process.wait()


def test_a_container_that_began_after_the_job_works_for_it(tmp_path: Path) -> None:
    command = ["unshare", "--fork", "--pid", "--kill-child", "sleep", "60"]
    outer = subprocess.Popen(command, stderr=subprocess.PIPE, cwd="/")
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    wait_for(lambda: outer.poll() is not None or children.read_text().split())
    if outer.poll() is not None:
        pytest.skip("needs root, for a space of processes of its own")
    (inner,) = map(int, children.read_text().split())
    found = helpers(str(tmp_path), set())
    outer.kill()
    outer.wait()
    assert (inner in found, outer.pid in found) == (True, False)


def test_what_a_process_moves_is_counted(tmp_path: Path) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    script = (
        "import socket, sys\n"
        "with open(sys.argv[1], 'wb') as file: file.write(bytes(1_000_000))\n"
        "client = socket.create_connection(('127.0.0.1', int(sys.argv[2])))\n"
        "while client.recv(65536): pass\n"
    )
    port = str(server.getsockname()[1])
    before = network_bytes()
    argv = [sys.executable, "-c", script, str(tmp_path / "file"), port]
    job = subprocess.Popen(argv)
    there, _ = server.accept()
    there.sendall(bytes(3_000_000))
    assert is_connected({job.pid})
    assert io_bytes({job.pid}) >= 1_000_000
    wait_for(lambda: network_bytes() - before >= 3_000_000)
    there.close()
    server.close()
    assert job.wait(timeout=PATIENCE_S) == 0
    assert io_bytes({job.pid}) == 0
    sleeper = subprocess.Popen(["sleep", "60"])
    assert not is_connected({sleeper.pid})
    sleeper.kill()
    sleeper.wait()


@pytest.mark.parametrize(
    ("read_bytes", "network", "connected", "works"),
    [
        (0, 10**9, False, False),
        (0, 10**9, True, True),
        (0, 50_000, True, False),
        (10**6, 0, False, True),
        (-(10**6), 10**6, True, True),
        (-(10**6), 0, False, False),
    ],
)
def test_what_flows_is_work_of_a_job_that_is_connected(
    read_bytes: int, network: int, connected: bool, works: bool
) -> None:
    before = Look(0.0, 0.0, 5 * 10**6, 10**12, connected=False)
    now = Look(1.0, 0.0, before.io_bytes + read_bytes, before.network_bytes + network, connected)
    assert (moved_bytes(before, now) > IDLE_BYTES_PER_S) is works


def test_time_since_boot_does_not_stand_still() -> None:
    before = boot_clock()
    wait_for(lambda: boot_clock() > before)


def test_cpu_time_is_counted() -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    wait_for(lambda: cpu_seconds({busy.pid}) > 0.1)
    busy.kill()
    busy.wait()
    assert cpu_seconds({busy.pid}) == 0
