"""What this machine is: its processor, memory and GPUs, and how fast its memory is."""

import contextlib
import os
import platform
import subprocess
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

# Instruction sets that decide how fast numerical code runs.
TELLING_FLAGS = (
    "avx2",
    "avx512f",
    "avx512_bf16",
    "avx512_vnni",
    "amx_tile",
    "asimd",
    "sve",
    "sve2",
)
BANDWIDTH_BLOCK = 128 << 20
CGROUPS = "/sys/fs/cgroup"
OWN_GROUPS = "/proc/self/cgroup"
GPU_FIELDS = "name,memory.total"


def describe(bandwidth_s: float) -> Dict[str, Any]:
    """The facts of this machine; `bandwidth_s` is how long to measure its memory, 0 not to."""
    cpu = _cpu()
    return {
        "vcpus": usable_cores(),
        "memory_gib": _memory_gib(),
        "arch": {"aarch64": "arm64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine()),
        "cpu": cpu.get("model name"),
        "flags": [
            f for f in TELLING_FLAGS if f in cpu.get("flags", cpu.get("Features", "")).split()
        ],
        "gpus": _gpus(),
        "memory_gb_per_s": memory_bandwidth(bandwidth_s) if bandwidth_s > 0 else None,
        "system": "%s %s" % (platform.system(), platform.release()),
    }


def usable_cores() -> int:
    """Cores this process may use, which can be fewer than the machine has.

    A quota of processor time (`docker --cpus 1.5`, a limit in Kubernetes) counts as the nearest
    whole number of cores, at least one.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quotas = [*_quotas("cpu", "cpu.max"), *_quotas("cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us")]
    return max(1, int(min([float(cores), *quotas]) + 0.5))


def _quotas(controller: str, *names: str) -> Iterator[float]:
    """Cores by the quota of each group around this process: `max` and -1 are none."""
    for group in _groups(controller):
        try:
            quota, period = (int(word) for word in _words(group, names))
        except (OSError, ValueError):
            continue
        if quota > 0 and period > 0:
            yield quota / period


def _groups(controller: str) -> Iterator[str]:
    """Folders of the control groups this process is in, each with those around it.

    A container may see its own group as the root of all, under a path that is the host's.
    """
    try:
        with open(OWN_GROUPS, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        lines = []
    for line in [*lines, "0::/"]:
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0":
            roots = [CGROUPS, os.path.join(CGROUPS, "unified")]
        elif controller in names.split(","):
            roots = [os.path.join(CGROUPS, names), os.path.join(CGROUPS, controller)]
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for root in roots:
            for depth in range(len(parts), -1, -1):
                yield os.path.join(root, *parts[:depth])


def _words(group: str, names: Tuple[str, ...]) -> List[str]:
    words: List[str] = []
    for name in names:
        with open(os.path.join(group, name), encoding="ascii") as file:
            words += file.read().split()
    return words


def memory_bandwidth(seconds: float) -> float:
    """GB a second that one core moves when it copies memory, reads and writes counted."""
    source = bytes(BANDWIDTH_BLOCK)
    target = memoryview(bytearray(BANDWIDTH_BLOCK))
    target[:] = source  # touches every page, so that the first timed copy does not
    copied = 0
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        target[:] = source
        copied += 2 * BANDWIDTH_BLOCK
    return copied / (time.perf_counter() - started) / 1e9


def _cpu() -> Dict[str, str]:
    facts: Dict[str, str] = {}
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                key, separator, value = line.partition(":")
                if not separator:
                    break
                facts[key.strip()] = value.strip()
    except OSError:
        pass
    return facts


def _memory_gib() -> Optional[float]:
    """Memory of the machine, or of the container if that has less."""
    amounts = []
    with contextlib.suppress(ValueError, OSError):
        amounts.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for group in _groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):
                amounts += [int(word) for word in _words(group, (name,))]
    return min(amounts) / 2**30 if amounts else None


def _gpus() -> List[Dict[str, Any]]:
    try:
        answer = subprocess.run(
            ["nvidia-smi", "--query-gpu=" + GPU_FIELDS, "--format=csv,noheader,nounits"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    gpus = []
    for line in answer.stdout.decode("utf-8", "replace").splitlines():
        name, _, memory = line.rpartition(",")
        try:
            gpus.append({"model": name.strip(), "memory_gib": float(memory) / 1024})
        except ValueError:
            continue
    return gpus
