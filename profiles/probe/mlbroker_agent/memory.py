"""Memory of several processes together."""

from typing import Dict


def memory_bytes(resident: Dict[int, int], known_peak: int) -> int:
    """That of the processes whose resident bytes are given, by pid. Pages that several share count
    once, which is looked up only where it could make a new peak, since the kernel takes its time.
    """
    total = sum(resident.values())
    if total <= known_peak or len(resident) < 2:
        return total
    return sum(_proportional(pid, size) for pid, size in resident.items())


def _proportional(pid: int, resident: int) -> int:
    try:
        with open("/proc/%d/smaps_rollup" % pid, "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return resident
    return resident
