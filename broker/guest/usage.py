"""How busy the job keeps its machine, so that idle spending is noticed."""

import contextlib
import os
import resource
import shutil
import subprocess
import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set

from .machine import describe
from .memory import memory_bytes
from .package_energy import PackageEnergy
from .processes import cpu_seconds, helpers, resident_bytes
from .traffic import io_bytes, is_connected, network_bytes

# Below these a job counts as doing nothing: a fraction of one core, a fraction of one GPU, and
# bytes a second that it reads and writes, or that its machine sends and receives. A loop that
# waits for a file with `sleep 0.1` reads 66,000 a second, in starting so many programs.
IDLE_CPU = 0.03
IDLE_GPU = 0.03
IDLE_BYTES_PER_S = 100_000
QUERY = "utilization.gpu,memory.used,power.draw"


class Look(NamedTuple):
    """What the job has used so far. The network's bytes are its own only if it is connected."""

    at: float
    cpu_s: float
    io_bytes: int
    network_bytes: int
    connected: bool


def moved_bytes(before: Look, now: Look) -> int:
    """What the job read, wrote, sent and received between two looks; less where a process ended."""
    moved = now.io_bytes - before.io_bytes
    return max(moved, now.network_bytes - before.network_bytes) if now.connected else moved


class Usage:
    """Samples processor, memory, GPU, disks and network in its own thread. None is unknown, not 0.

    What others do for the job on its `workdir`, or in containers, counts as its work.
    """

    def __init__(self, members: Callable[[], Set[int]], workdir: str, every_s: float = 2.0) -> None:
        self._members = members
        self._workdir = workdir
        self._every_s = every_s
        self._gpu_tool = shutil.which("nvidia-smi")
        self._stop = threading.Event()
        self._busy_at = time.monotonic()
        self.cpu: Optional[float] = None
        self.gpu: Optional[float] = None
        self.machine: Optional[Dict[str, Any]] = None
        self.peak_gpu_memory_gib: Optional[float] = None
        self._peak_bytes = 0
        self._package = PackageEnergy()
        self.count_anew()

    def count_anew(self) -> None:
        """Means and sums are of what comes now: the set-up is over."""
        self._cpu: List[float] = []
        self._gpu: List[float] = []
        self._gpu_w: List[float] = []
        self._package_before_j = self._package.joules()
        self.unused_s = 0.0  # how long nothing was done, in all

    @property
    def mean_cpu(self) -> Optional[float]:
        """Cores that the job kept busy."""
        return sum(self._cpu) / len(self._cpu) if self._cpu else None

    @property
    def mean_gpu(self) -> Optional[float]:
        """The share of time that the busiest GPU was busy."""
        return sum(self._gpu) / len(self._gpu) if self._gpu else None

    @property
    def mean_gpu_w(self) -> Optional[float]:
        """Watts that all its GPUs drew together, by their own meters."""
        return sum(self._gpu_w) / len(self._gpu_w) if self._gpu_w else None

    @property
    def package_j(self) -> Optional[float]:
        """Joules that the machine's processors drew, where the kernel tells."""
        now, before = self._package.joules(), self._package_before_j
        return None if now is None or before is None else now - before

    @property
    def peak_memory_gib(self) -> Optional[float]:
        """The most that was seen at once, or that one process had when it ended."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        return max(self._peak_bytes, ended) / 2**30 or None

    def start(self) -> None:
        """Begin sampling."""
        threading.Thread(target=self._loop, daemon=True).start()

    def stop(self) -> None:
        """End sampling."""
        self._stop.set()

    def touch(self) -> None:
        """Count a step as work, however little processor time it took, and the job's start."""
        self._busy_at = time.monotonic()

    @property
    def idle_s(self) -> float:
        """Seconds since the job last did anything."""
        return time.monotonic() - self._busy_at

    def _loop(self) -> None:
        self.machine = describe(bandwidth_s=0)
        before = self._look()
        while not self._stop.wait(self._every_s):
            now = self._look()
            took_s = now.at - before.at
            # The sum falls when a process ends: that is no idleness, nor a negative load.
            if now.cpu_s >= before.cpu_s:
                self.cpu = (now.cpu_s - before.cpu_s) / took_s
                self._cpu.append(self.cpu)
            self.gpu = self._read_gpu()
            if self.gpu is not None:
                self._gpu.append(self.gpu)
            computes = (self.cpu or 0) > IDLE_CPU or (self.gpu or 0) > IDLE_GPU
            if computes or moved_bytes(before, now) / took_s > IDLE_BYTES_PER_S:
                self._busy_at = now.at
            else:
                self.unused_s += took_s
            before = now

    def _look(self) -> Look:
        own = self._members()
        self._peak_bytes = max(
            self._peak_bytes, memory_bytes(resident_bytes(own), self._peak_bytes)
        )
        pids = own | helpers(self._workdir, own)
        return Look(
            time.monotonic(), cpu_seconds(pids), io_bytes(pids), network_bytes(), is_connected(pids)
        )

    def _read_gpu(self) -> Optional[float]:
        if self._gpu_tool is None:
            return None
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        query = ["--query-gpu=" + QUERY, "--format=csv,noheader,nounits"]
        chosen = ["--id=" + visible] if visible else []
        try:
            answer = subprocess.run(
                [self._gpu_tool, *query, *chosen], capture_output=True, timeout=5, check=True
            )
            told = [line.split(b",") for line in answer.stdout.splitlines()]
            busy = [float(gpu[0]) for gpu in told]
            memory_gib = sum(float(gpu[1]) for gpu in told) / 1024
            self.peak_gpu_memory_gib = max(memory_gib, self.peak_gpu_memory_gib or 0.0)
            # Not every GPU has a meter: "[N/A]".
            with contextlib.suppress(ValueError, IndexError):
                self._gpu_w.append(sum(float(gpu[2]) for gpu in told))
            return max(busy) / 100
        except (OSError, ValueError, IndexError, subprocess.SubprocessError):
            return None
