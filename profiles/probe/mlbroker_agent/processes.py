"""The job's whole process tree: adopt what detaches itself, measure it, end it."""

import ctypes
import os
import signal
import sys
import time
from typing import Dict, List, NamedTuple, Tuple

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MAX_ROUNDS = 500


class Process(NamedTuple):
    """One living process: CPU seconds include those of its children that have ended."""

    pid: int
    parent: int
    zombie: bool
    cpu_s: float
    rss_bytes: int


def adopt_orphans() -> None:
    """Make this process the parent of descendants that detach themselves (Linux)."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """In a new child: be killed when the agent is."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def descendants(root: int, skip: int = 0) -> List[Process]:
    """All living processes below `root`, without `skip` and what is below it."""
    children: Dict[int, List[Process]] = {}
    for process in _all_processes():
        children.setdefault(process.parent, []).append(process)
    found = []
    queue = [root]
    while queue:
        for process in children.get(queue.pop(), []):
            if process.pid == skip:
                continue
            queue.append(process.pid)
            if not process.zombie:
                found.append(process)
    return found


def _all_processes() -> List[Process]:
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % name, "rb") as file:
                # The command may hold spaces and brackets: the fields follow its last bracket.
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        cpu = sum(int(ticks) for ticks in fields[11:15]) / _TICKS
        found.append(
            Process(int(name), int(fields[1]), fields[0] == b"Z", cpu, int(fields[21]) * _PAGE)
        )
    return found


def reap() -> Tuple[Dict[int, int], float, int]:
    """Collect ended children: wait statuses by pid, CPU seconds used, the greatest memory."""
    ended: Dict[int, int] = {}
    cpu_s = 0.0
    peak_bytes = 0
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return ended, cpu_s, peak_bytes
        if pid == 0:
            return ended, cpu_s, peak_bytes
        ended[pid] = status
        cpu_s += usage.ru_utime + usage.ru_stime
        peak_bytes = max(peak_bytes, usage.ru_maxrss * 1024)


def end_tree(root: int, grace_s: float) -> None:
    """End everything below `root`: ask, wait `grace_s`, then kill until nothing is left."""
    deadline = time.monotonic() + grace_s
    _signal_all(descendants(root), signal.SIGTERM)
    while time.monotonic() < deadline:
        reap()
        if not descendants(root):
            return
        time.sleep(0.02)
    for _ in range(_MAX_ROUNDS):
        living = descendants(root)
        reap()
        if not living:
            return
        # Stopped first, so that nobody forks while the others are being killed.
        _signal_all(living, signal.SIGSTOP)
        _signal_all(descendants(root), signal.SIGKILL)
        time.sleep(0.01)


def _signal_all(processes: List[Process], number: int) -> None:
    for process in processes:
        try:
            os.kill(process.pid, number)
        except (ProcessLookupError, PermissionError):
            continue
