"""What a person sees while a job is being measured: one line that lives."""

import sys
import time
from types import TracebackType
from typing import Any

from mlbroker.broker.measure.watch import Observation
from mlbroker.broker.output import say
from mlbroker.broker.words import count, figure, span
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
            self._task = self._bar.add_task("measuring", total=None, state="starting")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """A line of its own, above the bar."""
        if self._bar is None:
            say(text)
        else:
            self._bar.console.print(text, markup=False, highlight=False)

    def show(self, seen: Observation, place: str = "") -> None:
        """The state of knowledge now, of one of several places by its name."""
        state = "setting up" if seen.started == "setup" else "waiting for the first step"
        done, total = 0, None
        if seen.track is not None and seen.track.steps > 0:
            state = count(seen.track.steps, "step")
            done, total = seen.track.counts[-1], seen.track.total
        if seen.estimate is not None:
            half = seen.estimate.half_width
            state += f", {figure(seen.estimate.step_time_s)} s each"
            state += f" ±{half:.1%}" if half < 1 else ", not sure yet"
            if seen.estimate.total_s is not None:
                state += f", all of it {span(seen.estimate.total_s.p50)}"
        if place:
            state = f"{place}: {state}"
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, state=state)
        elif done and time.monotonic() - self._last >= PLAIN_EVERY_S:
            self._last = time.monotonic()
            say(f"measuring: {state}")
