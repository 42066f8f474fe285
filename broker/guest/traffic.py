"""How much a job moves: bytes that its processes read and write, and those on its network."""

from typing import Set

from .processes import open_paths


def io_bytes(pids: Set[int]) -> int:
    """Bytes these processes, and their buried children, read and wrote: files, disks and pipes.

    Those of another user do not tell, and count as none.
    """
    return sum(_io_of(pid) for pid in pids)


def _io_of(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/io", "rb") as file:
            told = dict(line.split(b": ") for line in file)
    except (OSError, ValueError):
        return 0
    return sum(int(told.get(n, 0)) for n in (b"rchar", b"wchar", b"read_bytes", b"write_bytes"))


def network_bytes() -> int:
    """Bytes in and out of this machine, the loopback included: Linux tells no process's own."""
    try:
        with open("/proc/net/dev", "rb") as file:
            counts = [line.split(b":")[1].split() for line in file if b":" in line]
    except OSError:
        return 0
    return sum(int(each[0]) + int(each[8]) for each in counts)


def is_connected(pids: Set[int]) -> bool:
    """Whether any of them has a socket open: only then may it be theirs what flows."""
    return any(path.startswith("socket:") for pid in pids for path in open_paths(pid))
