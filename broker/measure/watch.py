"""Follows one job under measurement until enough is known, and says what was seen."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mlbroker.broker.measure.agent_link import AgentLink
from mlbroker.profiles.job import Job
from mlbroker.profiles.stepping.steady import Estimate, estimate
from mlbroker.profiles.stepping.stopping import StopRule
from mlbroker.profiles.stepping.stream import StepSeries, StepStreams

# A new estimate is made when so many more events were seen than at the last one.
GROWTH = 1.02
# Nor before so many times what the last one took: the job may need every core.
RESTS = 30.0


@dataclass(slots=True)
class Observation:
    """What was seen of one job on one machine. Times are seconds since the job's start.

    `started` is the phase it is in, or was in last: `setup` or `command`.
    """

    machine: Mapping[str, Any] = field(default_factory=dict)
    series: StepSeries | None = None
    estimate: Estimate | None = None
    stopped: str | None = None
    started: str | None = None
    setup_s: float = 0.0
    end: Mapping[str, Any] = field(default_factory=dict)
    samples: list[tuple[float, Mapping[str, Any]]] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)

    @property
    def phase(self) -> str:
        """`setup` or `command`: how far the job came."""
        return str(self.end.get("phase", "setup"))

    @property
    def completed(self) -> bool:
        """Whether the job ran to its end, successfully."""
        return self.end.get("end") == "ended" and self.end.get("exit") == 0


def watch(
    job: Job,
    link: AgentLink,
    rule: StopRule,
    show: Callable[[Observation], None] = lambda _: None,
) -> Observation:
    """Follow `link` to its end, stopping it as soon as `rule` is satisfied."""
    watching = _Watching(job, rule, show)
    for message in link.messages():
        watching.hear(message)
        if watching.has_seen_enough():
            link.stop()
    seen = watching.finished()
    if not seen.end:
        if seen.series is None or seen.estimate is None:
            raise link.failure()
        # The agent went without a farewell. What it told until then is true all the same.
        seen.end = {"end": "lost", "phase": "command", "time_s": seen.series.times_s[-1]}
    return seen


class _Watching:
    """What has been told so far, and when to look at it again."""

    def __init__(self, job: Job, rule: StopRule, show: Callable[[Observation], None]) -> None:
        self._steps = job.work.steps if job.work else None
        self._rule = replace(rule, epoch_steps=job.work.steps_per_epoch) if job.work else rule
        self._show = show
        self._due = 0.0
        self._begin()

    def _begin(self) -> None:
        self._seen, self._streams, self._considered = Observation(), StepStreams(), 0

    def hear(self, message: Mapping[str, Any]) -> None:
        """Take in one report; an empty one says nothing."""
        seen = self._seen
        if "restart" in message:
            self._begin()
        elif "machine" in message:
            seen.machine = message["machine"]
        elif "start" in message:
            seen.started = message["start"]
            self._show(seen)
        elif "steps" in message:
            self._streams.add([tuple(event) for event in message["steps"]])
        elif "note" in message:
            source, pid, key, value = message["note"]
            self._streams.note(source, pid, key, value)
            seen.notes[key] = value
        elif "sample" in message:
            if seen.started == "setup":
                seen.setup_s = message["time_s"]
            else:
                seen.samples.append((message["time_s"], message["sample"]))
        elif "end" in message:
            seen.end = message

    def has_seen_enough(self) -> bool:
        """Whether to stop now: said once, after a look that is made only now and then."""
        seen, streams = self._seen, self._streams
        if seen.stopped and not seen.completed:
            return False
        if streams.events < self._considered * GROWTH and not seen.end:
            return False
        series = streams.best(self._steps, bool(seen.end))
        if series is None:
            self._considered = streams.events
            return False
        if time.monotonic() < self._due and not seen.end and not self._rule.used_up(series):
            return False
        self._considered = streams.events
        began = time.monotonic()
        seen.series, seen.estimate = series, estimate(series)
        self._due = time.monotonic() + RESTS * (time.monotonic() - began)
        self._show(seen)
        if seen.stopped:
            return False  # it ran to its end before the wish to stop reached it: all of it counts
        seen.stopped = self._rule.reached(series, seen.estimate)
        return bool(seen.stopped)

    def finished(self) -> Observation:
        """All that was seen, and who counted."""
        self._seen.sources = self._streams.sources
        return self._seen
