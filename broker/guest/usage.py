"""How busy the job keeps its machine, so that idle spending is noticed."""

import os
import shutil
import subprocess
import threading
import time
from typing import Callable, Optional, Set

from .processes import cpu_seconds

# Below these a job counts as doing nothing: a fraction of one core, a fraction of one GPU.
IDLE_CPU = 0.03
IDLE_GPU = 0.03


class Usage:
    """Samples processor and GPU use in its own thread. None is unknown, not zero."""

    def __init__(self, members: Callable[[], Set[int]], every_s: float = 2.0) -> None:
        self._members = members
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
        """Count a step as work, however little processor time it took."""
        self._busy_at = time.monotonic()

    @property
    def idle_s(self) -> float:
        """Seconds since the job last did anything."""
        return time.monotonic() - self._busy_at

    def _loop(self) -> None:
        then, used = time.monotonic(), cpu_seconds(self._members())
        while not self._stop.wait(self._every_s):
            now, total = time.monotonic(), cpu_seconds(self._members())
            # The sum falls when a process ends: that is no idleness, nor a negative load.
            if total >= used:
                self.cpu = (total - used) / (now - then)
            then, used = now, total
            self.gpu = self._read_gpu()
            if (self.cpu or 0) > IDLE_CPU or (self.gpu or 0) > IDLE_GPU:
                self._busy_at = now

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
