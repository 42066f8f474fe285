"""How busy the job keeps its machine, so that idle spending is noticed."""

import os
import shutil
import subprocess
import threading
import time
from typing import Callable, NamedTuple, Optional, Set

from .processes import cpu_seconds, helpers
from .traffic import io_bytes, is_connected, network_bytes

# Below these a job counts as doing nothing: a fraction of one core, a fraction of one GPU, and
# bytes a second that it reads and writes, or that its machine sends and receives. A loop that
# waits for a file with `sleep 0.1` reads 66,000 a second, in starting so many programs.
IDLE_CPU = 0.03
IDLE_GPU = 0.03
IDLE_BYTES_PER_S = 100_000


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
    """Samples processor, GPU, disks and network in its own thread. None is unknown, not zero.

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
        before = self._look()
        while not self._stop.wait(self._every_s):
            now = self._look()
            took_s = now.at - before.at
            # The sum falls when a process ends: that is no idleness, nor a negative load.
            if now.cpu_s >= before.cpu_s:
                self.cpu = (now.cpu_s - before.cpu_s) / took_s
            self.gpu = self._read_gpu()
            computes = (self.cpu or 0) > IDLE_CPU or (self.gpu or 0) > IDLE_GPU
            if computes or moved_bytes(before, now) / took_s > IDLE_BYTES_PER_S:
                self._busy_at = now.at
            before = now

    def _look(self) -> Look:
        own = self._members()
        pids = own | helpers(self._workdir, own)
        return Look(
            time.monotonic(), cpu_seconds(pids), io_bytes(pids), network_bytes(), is_connected(pids)
        )

    def _read_gpu(self) -> Optional[float]:
        if self._gpu_tool is None:
            return None
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        chosen = ["--id=" + visible] if visible else []
        try:
            answer = subprocess.run(
                [self._gpu_tool, *query, *chosen], capture_output=True, timeout=5, check=True
            )
            return max(float(line) for line in answer.stdout.split()) / 100
        except (OSError, ValueError, subprocess.SubprocessError):
            return None
