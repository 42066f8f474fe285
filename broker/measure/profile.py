"""Measures a job on a machine, from the job file to the measurement in the store."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlbroker.broker.measure import facts
from mlbroker.broker.measure.agent_link import start_here
from mlbroker.broker.measure.result import Place, to_measurement
from mlbroker.broker.measure.watch import Observation, watch
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.stopping import StopRule

GRACE_S = 2.0
BANDWIDTH_S = 1.0


def agent_spec(job: Job, max_time_s: float) -> dict[str, Any]:
    """What an agent needs to know."""
    return {
        "command": job.command,
        "setup": job.setup,
        "cwd": job.workdir or str(Path.cwd()),
        "env": dict(job.envs),
        "progress": job.progress,
        "max_time_s": max_time_s,
        "grace_s": min(GRACE_S, max_time_s / 10),
        "bandwidth_s": BANDWIDTH_S,
    }


def profile_here(
    job: Job,
    rule: StopRule,
    show: Callable[[Observation], None] = lambda _: None,
) -> tuple[Measurement, Observation]:
    """Measure on this machine, within the job's own limits."""
    known = facts.of(job)
    link = start_here(agent_spec(job, job.profile.max_time_s))
    try:
        seen = watch(job, link, rule, show)
    finally:
        link.close()
    place = Place(config=f"local-{seen.machine['vcpus']}cpu", cloud="local")
    return to_measurement(job, seen, place, datetime.now(UTC), known), seen
