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
    if job.work is not None:
        rule = replace(rule, epoch_steps=job.work.steps_per_epoch)
    seen = Observation()
    streams = StepStreams()
    considered, due = 0, 0.0
    phase = ""
    for message in link.messages():
        if "restart" in message:
            seen, streams, considered = Observation(), StepStreams(), 0
        elif "machine" in message:
            seen.machine = message["machine"]
        elif "start" in message:
            phase = seen.started = message["start"]
            show(seen)
        elif "steps" in message:
            streams.add([tuple(event) for event in message["steps"]])
        elif "note" in message:
            source, pid, key, value = message["note"]
            streams.note(source, pid, key, value)
            seen.notes[key] = value
        elif "sample" in message:
            if phase == "setup":
                seen.setup_s = message["time_s"]
            else:
                seen.samples.append((message["time_s"], message["sample"]))
        elif "end" in message:
            seen.end = message
        if seen.stopped and not seen.completed:
            continue
        if streams.events < considered * GROWTH and not seen.end:
            continue
        series = streams.best(job.work.steps if job.work else None, bool(seen.end))
        if series is None:
            considered = streams.events
            continue
        if time.monotonic() < due and not seen.end and not rule.used_up(series):
            continue
        considered = streams.events
        began = time.monotonic()
        seen.series, seen.estimate = series, estimate(series)
        due = time.monotonic() + RESTS * (time.monotonic() - began)
        show(seen)
        if seen.stopped:
            continue  # it ran to its end before the wish to stop reached it: all of it counts
        seen.stopped = rule.reached(series, seen.estimate)
        if seen.stopped:
            link.stop()
    seen.sources = streams.sources
    if not seen.end:
        if seen.series is None or seen.estimate is None:
            raise link.failure()
        # The agent went without a farewell. What it told until then is true all the same.
        seen.end = {"end": "lost", "phase": "command", "time_s": seen.series.times_s[-1]}
    return seen
