"""Samples what the job uses: memory, CPU, GPU, power."""

import os
import subprocess
from typing import Any, Dict, List, Optional

from .memory import memory_bytes
from .package_energy import PackageEnergy
from .processes import Process

QUERY = "utilization.gpu,memory.used,power.draw"


class Gauges:
    """Peaks and sums since the start of the job."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self.reaped_cpu_s = 0.0
        self.gpu = GpuGauge()
        self._energy = PackageEnergy()
        self._busy_before_s = machine_busy_s()

    def reaped(self, cpu_s: float, peak_bytes: int) -> None:
        """Children have ended; what they used counts too."""
        self.reaped_cpu_s += cpu_s
        self.peak_bytes = max(self.peak_bytes, peak_bytes)

    def sample(self, processes: List[Process]) -> Dict[str, Any]:
        """The state now. CPU seconds are a sum since the start, so that any span can be taken."""
        resident = {process.pid: process.rss_bytes for process in processes}
        self.peak_bytes = max(self.peak_bytes, memory_bytes(resident, self.peak_bytes))
        cpu_s = self.reaped_cpu_s + sum(process.cpu_s for process in processes)
        return {
            "peak_memory_gib": self.peak_bytes / 2**30,
            "cpu_s": cpu_s,
            "others_cpu_s": max(0.0, machine_busy_s() - self._busy_before_s - cpu_s),
            "processes": len(processes),
            "package_j": self._energy.joules(),
            **self.gpu.state,
        }


def machine_busy_s() -> float:
    """CPU seconds of the whole machine that somebody used, or that the hypervisor took away."""
    try:
        with open("/proc/stat", "rb") as file:
            ticks = [int(word) for word in file.readline().split()[1:9]]
    except (OSError, ValueError):
        return 0.0
    user, nice, system, _idle, _wait, interrupts, soft, steal = ticks
    return (user + nice + system + interrupts + soft + steal) / os.sysconf("SC_CLK_TCK")


class GpuGauge:
    """Follows `nvidia-smi`, which is simply not there on machines without a GPU."""

    def __init__(self) -> None:
        self.state: Dict[str, float] = {}
        self._process: Optional["subprocess.Popen[bytes]"] = None
        self._pending = b""
        self._samples = 0
        self._round: List[List[float]] = []
        self._sums = [0.0, 0.0]

    def start(self, gpus: int) -> None:
        """Begin to follow, when there is a GPU."""
        if gpus == 0:
            return
        try:
            self._process = subprocess.Popen(
                ["nvidia-smi", "--query-gpu=" + QUERY, "--format=csv,noheader,nounits", "-l", "1"],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
            )
        except OSError:
            return
        self._gpus = gpus

    @property
    def fileno(self) -> Optional[int]:
        """Where its lines come from, for whoever waits for them."""
        return self._process.stdout.fileno() if self._process and self._process.stdout else None

    @property
    def pid(self) -> int:
        """The follower, which is no part of the job; 0 when there is none."""
        return self._process.pid if self._process else 0

    def feed(self, chunk: bytes) -> None:
        """Lines of `nvidia-smi`, one for each GPU and second."""
        lines = (self._pending + chunk).split(b"\n")
        self._pending = lines.pop()
        for line in lines:
            self._round.append([_number(word) for word in line.split(b",")])
            if len(self._round) == self._gpus:
                self._take(self._round)
                self._round = []

    def _take(self, gpus: List[List[float]]) -> None:
        if any(len(gpu) != 3 for gpu in gpus):
            return
        self._samples += 1
        memory = sum(gpu[1] for gpu in gpus) / 1024
        self._sums[0] += sum(gpu[0] for gpu in gpus) / len(gpus)
        self._sums[1] += sum(gpu[2] for gpu in gpus)
        self.state = {
            "peak_gpu_memory_gib": max(memory, self.state.get("peak_gpu_memory_gib", 0.0)),
            "gpu_utilisation": self._sums[0] / self._samples / 100,
            "gpu_power_w": self._sums[1] / self._samples,
        }

    def stop(self) -> None:
        """End the follower."""
        if self._process:
            self._process.kill()


def _number(word: bytes) -> float:
    try:
        return float(word)
    except ValueError:
        return 0.0
