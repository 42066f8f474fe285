"""Finding and ending every process of a run, also those that try to get away.

A process belongs to the run if it descends from the supervisor (which adopts orphans), if it
carries the run's token in its environment, or if it was started in the run's copy of the work
directory, as a window of a tmux server that was there before. Orphans never lose the supervisor
while it lives. What a daemon does elsewhere for the job (a container) is not told from what it
does for others: it counts as work, and is left alone.
"""

import contextlib
import ctypes
import os
import signal
import time
from typing import Dict, List, Optional, Set

from .box import WORK

PR_SET_CHILD_SUBREAPER = 36
# Shorter ones could be those of others.
LEAST_MARKER = 20


def adopt_orphans() -> bool:
    """Make this process the parent of every orphan below it; False where Linux cannot."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def boot_clock() -> float:
    """Seconds since boot, time asleep included: no clock setting moves it."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def stat_fields(pid: int) -> Optional[List[str]]:
    """The fields of /proc/PID/stat from the state on; None when the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return None
    # The name, in parentheses, may hold anything, parentheses and spaces included.
    return text[text.rindex(")") + 2 :].split()


def _pids() -> List[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def members(marker: bytes, mine: bool, box: str = "") -> Set[int]:
    """Every living process with `marker` in its environment, and with `mine` all below this one.

    With `box`, those too that were started in its copy of the work directory, and still are there.
    Never this process, nor those above it.
    """
    if not marker.startswith(b"MLBROKER_TOKEN=") or len(marker) < LEAST_MARKER:
        raise ValueError("a marker must name a run")
    parents: Dict[int, int] = {}
    for pid in _pids():
        fields = stat_fields(pid)
        if fields is not None and fields[0] not in "ZX":
            parents[pid] = int(fields[1])
    found = {pid for pid in parents if mine and os.getpid() in _above(pid, parents)}
    # Not where a link of this name leads: there others may be.
    work = os.path.join(os.path.realpath(box), WORK) if box else ""
    found |= {pid for pid in set(parents) - found if _bears(pid, marker, work)}
    return found - {os.getpid(), 0, 1} - set(_above(os.getpid(), parents))


def _bears(pid: int, marker: bytes, work: str) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environment = file.read().split(b"\0")
        if marker in environment:
            return True
        # Whoever went there later, to look around, was started somewhere else.
        began = next((each[4:] for each in environment if each.startswith(b"PWD=")), None)
        return bool(
            work
            and began
            and _inside(os.path.realpath(os.fsdecode(began)), work)
            and _inside(os.readlink(f"/proc/{pid}/cwd"), work)
        )
    except (OSError, ValueError):
        return False


def _inside(path: str, real_folder: str) -> bool:
    return path == real_folder or path.startswith(real_folder + os.sep)


def helpers(folder: str, of: Set[int]) -> Set[int]:
    """Processes that are likely at work for `of`, the run's own: they began after this one, and
    are in its folder, hold a file there, or are in a container. None of them is ever ended.
    """
    began, real = _began(os.getpid()), os.path.realpath(folder)
    young = {pid for pid in _pids() if _began(pid) > began} - of - {os.getpid()}
    return {pid for pid in young if _in_container(pid) or _holds(pid, real)}


def _began(pid: int) -> int:
    """In ticks since boot; 0 when it is gone."""
    fields = stat_fields(pid)
    return int(fields[19]) if fields is not None else 0


def _in_container(pid: int) -> bool:
    """Whether it has another number in a space of processes of its own. Everybody may ask that."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            numbers = [line.split() for line in file if line.startswith(b"NSpid:")]
    except OSError:
        return False
    return any(len(line) > 2 for line in numbers)


def _holds(pid: int, real_folder: str) -> bool:
    return any(_inside(path, real_folder) for path in open_paths(pid))


def open_paths(pid: int) -> List[str]:
    """Where a process is, and what it has open: files by their path, sockets as `socket:[N]`."""
    found = []
    try:
        found.append(os.readlink(f"/proc/{pid}/cwd"))
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
    except OSError:
        # Of another user, or gone.
        return found
    return found


def _above(pid: int, parents: Dict[int, int]) -> List[int]:
    """The parent, its parent and so on."""
    line: List[int] = []
    while pid in parents and pid not in line:
        pid = parents[pid]
        line.append(pid)
    return line


def reap(but: int = 0) -> None:
    """Bury adopted orphans that have ended; `but` is a child whose exit code somebody waits for."""
    try:
        while True:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None or ended.si_pid in (0, but):
                return
            os.waitpid(ended.si_pid, os.WNOHANG)
    except ChildProcessError:
        return


def signal_all(pids: Set[int], number: int) -> None:
    """Send a signal to each process that still exists and is ours."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def wake(path: str) -> None:
    """Let go on whoever was stopped (SIGSTOP) and holds this file open."""
    for pid in _pids():
        fields = stat_fields(pid)
        if fields is None or fields[0] not in "Tt":
            continue
        try:
            if os.path.realpath(path) in open_paths(pid):
                os.kill(pid, signal.SIGCONT)
        except OSError:
            continue


def end_all(marker: bytes, mine: bool, box: str = "", give_up_after_s: float = 10.0) -> bool:
    """Kill until no member is left; False when some could not be killed in time.

    They are all stopped before the first is killed, so that a fork bomb cannot outrun the kills.
    """
    until = time.monotonic() + give_up_after_s
    while True:
        left = members(marker, mine, box)
        if not left:
            return True
        signal_all(left, signal.SIGSTOP)
        signal_all(members(marker, mine, box), signal.SIGKILL)
        if mine:
            # Elsewhere the dead belong to others, who wait for their exit codes.
            reap()
        if time.monotonic() > until:
            return False
        time.sleep(0.01)


def cpu_seconds(pids: Set[int]) -> float:
    """Processor time these processes, and their buried children, have used."""
    ticks = 0
    for pid in pids:
        fields = stat_fields(pid)
        if fields is not None:
            ticks += sum(int(value) for value in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_bytes(pids: Set[int]) -> Dict[int, int]:
    """Resident memory of those of the processes that are there, by pid."""
    page = os.sysconf("SC_PAGE_SIZE")
    told = {pid: stat_fields(pid) for pid in pids}
    return {pid: int(fields[21]) * page for pid, fields in told.items() if fields is not None}
