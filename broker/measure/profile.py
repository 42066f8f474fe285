"""Measures a job on this machine, from the job file to measurements ready for the store."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from mlbroker.broker.errors import InputError
from mlbroker.broker.evidence import facts
from mlbroker.broker.evidence.hardware import local_config
from mlbroker.broker.measure.agent_link import start_here
from mlbroker.broker.measure.result import MeasuredOn, to_measurement
from mlbroker.broker.measure.watch import Observation, watch
from mlbroker.broker.runs.launch import secret_values
from mlbroker.pricing.vendors import LOCAL
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.scaling import CorePoint, core_counts, parallel_fraction
from mlbroker.profiles.stepping.stopping import StopRule

GRACE_S = 2.0
BANDWIDTH_S = 1.0
# Fewer cores are tried only if the time left is so many times what all cores took.
ROOM = 3.0
LEAST_SIGMA = 0.01

Show = Callable[[Observation], None]


@dataclass(frozen=True, slots=True)
class Profiled:
    """A measurement, what it was made from, and what it cost."""

    measurement: Measurement
    seen: Observation
    took_s: float = 0.0
    spent_usd: Decimal = Decimal(0)


def agent_spec(job: Job, max_time_s: float, cores: int | None = None) -> dict[str, Any]:
    """What an agent needs to know."""
    return {
        "command": job.command,
        "setup": job.setup,
        "cwd": job.workdir or str(Path.cwd()),
        "env": dict(job.variables),
        "progress": job.progress,
        "max_time_s": max_time_s,
        "grace_s": min(GRACE_S, max_time_s / 10),
        "bandwidth_s": 0.0 if cores else min(BANDWIDTH_S, max_time_s / 20),
        "cores": cores,
    }


def profile_here(job: Job, rule: StopRule, show: Show = lambda _: None) -> Profiled:
    """Measure on all cores of this machine, within the job's own limits."""
    return _profile(job, rule, show, facts.of(job, measured=True), job.profile.max_time_s, None)


def profile_fewer_cores(
    job: Job, rule: StopRule, whole: Profiled, show: Show = lambda _: None
) -> list[Measurement]:
    """The same on a half, a quarter, … of the cores, and what they tell together.

    All measurements are returned, the first one too, with the job's parallel fraction. Machines
    with a GPU at work are left alone, and so is a job that has used up its time.
    """
    first = whole.measurement
    if first.status is Status.FAILED or first.gpu_used:
        return [first]
    known = first.facts
    left_s = job.profile.max_time_s - whole.took_s
    found = [first]
    for cores in core_counts(int(whole.seen.machine["vcpus"])):
        if left_s < ROOM * whole.took_s * int(whole.seen.machine["vcpus"]) / cores:
            break
        try:
            # Set up it is already.
            again = _profile(replace(job, setup=None), rule, show, known, left_s, cores)
        except InputError:
            break  # too slow on so few cores to say anything in the time that is left
        left_s -= again.took_s
        part = again.measurement
        if part.status is Status.OK and (part.steps is None) == (first.steps is None):
            found.append(replace(part, fingerprint=first.fingerprint))
    return _with_fraction(found)


def _with_fraction(found: list[Measurement]) -> list[Measurement]:
    points = [
        CorePoint(int(m.hardware.vcpus), m.time_s, m.sigma_log or LEAST_SIGMA)
        for m in found
        if m.hardware is not None
    ]
    fraction = parallel_fraction(points)
    if fraction is None:
        return found
    return [replace(m, features={**m.features, "parallel_fraction": fraction}) for m in found]


def _profile(
    job: Job,
    rule: StopRule,
    show: Show,
    known: Mapping[str, str],
    limit_s: float,
    cores: int | None,
) -> Profiled:
    started = time.monotonic()
    spec = agent_spec(job, limit_s, cores)
    # Here they go to the agent through a pipe, and are written nowhere.
    spec["env"] |= secret_values(job)
    link = start_here(spec)
    try:
        seen = watch(job, link, rule, show)
    finally:
        link.close()
    used = cores or seen.machine["vcpus"]
    place = MeasuredOn(config=local_config(used), cloud=LOCAL, cores=cores)
    row = to_measurement(job, seen, place, datetime.now(UTC), known)
    return Profiled(row, seen, time.monotonic() - started)
