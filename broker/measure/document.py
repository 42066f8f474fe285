"""Measurements as JSON documents: what `profile --json` and `profile show --json` print."""

import math
from collections.abc import Sequence
from typing import Any

from mlbroker.broker.evidence.capacities import is_capacity
from mlbroker.broker.evidence.columns import stored
from mlbroker.broker.evidence.store import Outdated, is_other_batch
from mlbroker.broker.measure.noise import noise_document
from mlbroker.broker.measure.result import ASKED, steps_by
from mlbroker.broker.measure.tokens import tokens_document
from mlbroker.profiles.estimators.measured import RUN_TO_RUN
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.prediction import Z90
from mlbroker.profiles.tokens import tokens_of

SCHEMA = "mlbroker.profile/1"
# The fields that a document holds as the store does.
PLAIN = (
    *("job", "config", "status", "reason", "cloud", "region", "instance_type", "nodes"),
    "price_per_hour_usd",
)


def job_document(
    job: Job, rows: Sequence[Measurement], outdated: Sequence[Outdated] = ()
) -> dict[str, Any]:
    """All that is measured of one job. The figures at the top are the latest measurement's."""
    good = [row for row in rows if row.status is Status.OK]
    # A measurement on a few of the cores says how the job scales, not how long it takes.
    whole = [row for row in good if "limited_to_cores" not in row.extra] or good
    # The version that is most like the job as it is now, and of that the latest.
    best = max(whole, key=lambda row: -row.doubt_log) if whole else None
    same = [row for row in whole if best is not None and row.doubt_log == best.doubt_log]
    latest = measurement_document(same[-1], job) if same else None
    return {
        "schema": SCHEMA,
        "job": {"name": job.name, "fingerprint": job.fingerprint()},
        "status": None if not rows else "ok" if good else rows[-1].status.value,
        "config": latest and latest["config"],
        "steps": latest and latest["steps"],
        "step_time_s": latest and latest["step_time_s"],
        "duration_s": latest and latest["duration_s"],
        "duration_h": latest and latest["duration_h"],
        "measurements": [measurement_document(row, job) for row in rows],
        "outdated": [
            {**measurement_document(item.measurement, job), "reasons": list(item.reasons)}
            for item in outdated
        ],
    }


def measurement_document(row: Measurement, job: Job | None = None) -> dict[str, Any]:
    """One measurement; durations are of the whole job, in the steps its file asks for now."""
    # The time of a request at a service's capacity is no job's: `extra` says what it is.
    ok = row.status is Status.OK and not is_capacity(row)
    step = duration = None
    steps, said_by = row.steps, steps_by(row)
    if ok:
        # The whole run sees other moments of the machine than the part that was measured.
        sigma = math.hypot(row.sigma_log or 0.0, RUN_TO_RUN, row.doubt_log)
        if steps is not None:
            if job and job.work:
                steps, said_by = job.work.steps, ASKED
            step = _quantiles(row.time_s, sigma)
            if job is None or not is_other_batch(row, job):
                duration = _quantiles(row.time_s * steps, sigma, row.overhead_s)
        else:
            duration = _quantiles(row.time_s, sigma)
    return {
        **{name: stored(name, getattr(row, name)) for name in PLAIN},
        "batch_size": row.batch_size,
        "version": row.version,
        "steps": steps,
        "steps_by": None if steps is None else said_by,
        "step_time_s": step,
        "overhead_s": row.overhead_s if ok else None,
        "duration_s": duration,
        "duration_h": duration and {name: value / 3600 for name, value in duration.items()},
        "time_until_failure_s": row.time_s if row.status is Status.FAILED else None,
        "at_least_s": row.time_s if row.status is Status.STOPPED else None,
        "peak_memory_gib": row.peak_memory_gib,
        "peak_gpu_memory_gib": row.peak_gpu_memory_gib,
        "gpu_used": row.gpu_used,
        "measured_at": stored("measured_at", row.measured_at),
        "tokens": tokens_document(row, tokens_of(row.extra)),
        "noise": noise_document(row),
        "hardware": _hardware(row),
        "features": dict(row.features),
        "extra": dict(row.extra),
    }


def _quantiles(median: float, sigma_log: float, offset: float = 0.0) -> dict[str, float]:
    spread = math.exp(Z90 * sigma_log)
    return {
        "p10": offset + median / spread,
        "p50": offset + median,
        "p90": offset + median * spread,
    }


def _hardware(row: Measurement) -> dict[str, Any] | None:
    if row.hardware is None:
        return None
    return {
        "vcpus": row.hardware.vcpus,
        "memory_gib": row.hardware.memory_gib,
        "arch": row.hardware.arch,
        "cpu": row.hardware.cpu,
        "gpu": row.hardware.gpu and row.hardware.gpu.model,
        "gpu_count": row.hardware.gpu_count,
        "gpu_memory_gib": row.hardware.gpu_memory_gib,
    }
