"""What is known of a job's command when it ends: its time, its steps and theirs, what it used."""

from typing import Any, Dict, List, Optional

from .box import MOST_POINTS
from .usage import Usage


class Figures:
    """Seconds count from the run's beginning on its machine until the command's start, then anew.

    `resumed` where the command did not begin with the first step: nobody knows its whole time.
    `training` is what the job and its hooks tell of the gradient noise, as it stands.
    """

    def __init__(self, usage: Usage, training: Dict[str, str]) -> None:
        self._usage = usage
        self._training = training
        self._began: Optional[float] = None
        self._ended: Optional[float] = None
        self._setup_s = 0.0
        self._points: List[List[float]] = []
        self._steps: Optional[int] = None
        self.resumed = False
        self._saved_s: Optional[float] = None

    def command_begins(self, now: float, setup_s: float) -> None:
        """The set-up is done."""
        self._began, self._setup_s = now, setup_s
        self._usage.count_anew()

    def command_ends(self, now: float) -> None:
        """What comes after it is not of its time."""
        if self._began is not None and self._ended is None:
            self._ended = now

    def saved(self, ago_s: float, now: float) -> None:
        """The latest checkpoint was saved so long ago."""
        if self._began is not None:
            self._saved_s = max(0.0, min(now - ago_s, self._ended or now) - self._began)

    def stepped(self, step: Optional[int], steps: Optional[int], now: float) -> None:
        """So many steps are done by now, of so many in all."""
        self._steps = steps
        if self._began is None or step is None:
            return
        if self._points and step == self._points[-1][0]:
            return
        if self._points and step < self._points[-1][0]:
            self._points = []  # it counts something else
        # The last lines are read when the command is over.
        self._points.append([step, round(min(now, self._ended or now) - self._began, 3)])
        if len(self._points) > MOST_POINTS:
            del self._points[1:-1:2]

    def told(self, now: float) -> Optional[Dict[str, Any]]:
        """As the end record and the heartbeat hold it; None before the command's start."""
        if self._began is None:
            return None
        usage, command_s = self._usage, max((self._ended or now) - self._began, 1e-3)
        return {
            "setup_s": round(self._setup_s, 3),
            "command_s": round(command_s, 3),
            "points": self._points,
            "steps": self._steps,
            "resumed": self.resumed,
            "cpu": usage.mean_cpu,
            "gpu": usage.mean_gpu,
            "gpu_w": usage.mean_gpu_w,
            "package_j": usage.package_j,
            "unused_s": round(usage.unused_s, 3),
            "saved_s": self._saved_s and round(self._saved_s, 3),
            "peak_memory_gib": usage.peak_memory_gib,
            "peak_gpu_memory_gib": usage.peak_gpu_memory_gib,
            "machine": usage.machine,
            "training": dict(self._training),
        }
