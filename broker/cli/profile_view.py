"""What a person sees while a job is being measured: one line that lives."""

import sys
import time
from types import TracebackType
from typing import Any

from mlbroker.broker.cli.output import say
from mlbroker.broker.measure.watch import Observation
from mlbroker.profiles.job import Job

PLAIN_EVERY_S = 5.0


class Live:
    """A bar with the current estimate and its interval on a terminal, else a line now and then."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._bar: Any = None
        self._task: Any = None
        self._last = time.monotonic()

    def __enter__(self) -> "Live":
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[state]}"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("measuring", total=None, state="waiting for a step")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, seen: Observation, place: str = "") -> None:
        """The state of knowledge now, of one of several places by its name."""
        if seen.track is None or seen.track.steps == 0:
            return
        state = f"{seen.track.steps} steps"
        if seen.estimate is not None:
            state += (
                f", {seen.estimate.step_time_s:.4g} s ±{min(seen.estimate.half_width, 9.99):.1%}"
            )
        if place:
            state = f"{place}: {state}"
        if self._bar is not None:
            self._bar.update(
                self._task, completed=seen.track.counts[-1], total=seen.track.total, state=state
            )
        elif time.monotonic() - self._last >= PLAIN_EVERY_S:
            self._last = time.monotonic()
            say(f"measuring: {state}")
