"""The step time of machines the job was measured on."""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.prediction import Basis, Evidence, Prediction, Target

# Two machines of one type, or two days on one machine, differ by about this much (standard
# deviation of log time); repeats average it out, down to a floor that no averaging removes.
RUN_TO_RUN = 0.05
FLOOR = 0.02
# No prediction is claimed to be wilder than a factor of e to the third, either way.
MAX_SIGMA = 3.0
# The name, in what else is recorded of a measurement, of the run that it comes from.
RUN = "run"


def estimate(evidence: Evidence, targets: Sequence[Target]) -> list[Prediction | None]:
    """Pooled repeats where the job ran on the same type (or equal hardware) and node count.

    A region that was measured itself has its own time; any other takes its type's.
    """
    if not evidence.measurements:
        return [None] * len(targets)
    by_region: dict[tuple[str | None, str, str, int], list[Measurement]] = defaultdict(list)
    by_type: dict[tuple[str | None, str, int], list[Measurement]] = defaultdict(list)
    by_hardware: dict[object, list[Measurement]] = defaultdict(list)
    for row in evidence.measurements:
        if row.status is Status.FAILED:
            continue
        name = row.instance_type or row.config
        by_type[row.cloud, name, row.nodes].append(row)
        if row.region is not None:
            by_region[row.cloud, name, row.region, row.nodes].append(row)
        if row.hardware is not None and row.instance_type is None:
            by_hardware[row.hardware, row.nodes].append(row)
    return [
        pool(evidence.job, rows)
        if (
            rows := by_region.get(
                (target.cloud, target.instance_type, target.region or "", target.nodes)
            )
            or by_type.get((target.cloud, target.instance_type, target.nodes))
            or by_type.get((None, target.instance_type, target.nodes))
            or by_hardware.get((target.hardware, target.nodes))
        )
        else None
        for target in targets
    ]


def guess_key(job: Job) -> Hashable:
    """Without a measurement it knows nothing of any job."""
    return None


def pool(job: Job, rows: Sequence[Measurement]) -> Prediction | None:
    """One prediction from repeats on the same hardware: the mean of log time, and its error.

    None where none of them came to its end: that says only how long it takes at least.
    """
    least_s = max((step_time_s(job, r) for r in rows if r.status is Status.STOPPED), default=0.0)
    rows = [row for row in rows if row.status is Status.OK]
    if not rows:
        return None
    versions: dict[tuple[float, str | None], list[Measurement]] = defaultdict(list)
    for row in rows:
        versions[row.doubt_log, row.version].append(row)
    # Each version counts by how surely it speaks for the job as it is now.
    found = [(*_repeats(job, same), same) for same in versions.values()]
    weight = sum(1 / variance for _, variance, _ in found)
    mean = sum(log / variance for log, variance, _ in found) / weight
    sigma = math.sqrt(1 / weight)
    rows = min(found, key=lambda each: each[1])[2]
    place = rows[0].instance_type or rows[0].config
    times = "once" if len(rows) == 1 else f"{len(rows)} times"
    runs = sum(RUN in row.extra for row in rows)
    of_runs = f" ({runs} of them by a run)" if len(rows) > 1 and runs else " by a run" * runs
    longer = math.log(least_s) - mean if least_s else 0.0
    if longer > 0:
        # It has taken more than was measured, and nobody knows how much more.
        mean, sigma = mean + longer, min(max(sigma, longer), MAX_SIGMA)
    return Prediction(
        median_step_time_s=math.exp(mean),
        sigma_log=sigma,
        basis=Basis.MEASURED,
        evidence=f"measured {times} on {place}{of_runs}{earlier(rows)}",
        overhead_s=sum(row.overhead_s for row in rows) / len(rows),
    )


def _repeats(job: Job, rows: Sequence[Measurement]) -> tuple[float, float]:
    """Mean and variance of log time, of repeats of one version."""
    logs = [math.log(step_time_s(job, row)) for row in rows]
    mean = sum(logs) / len(logs)
    own = sum((row.sigma_log or 0.0) ** 2 for row in rows) / len(rows) ** 2
    spread = RUN_TO_RUN
    if len(logs) > 1:
        # A small sample's spread is itself uncertain: count the usual spread as two more repeats.
        around = sum((value - mean) ** 2 for value in logs)
        spread = math.sqrt((around + 2 * RUN_TO_RUN**2) / (len(logs) + 1))
    return mean, own + max(spread**2 / len(rows), FLOOR**2) + rows[0].doubt_log ** 2


def least_doubt(rows: Iterable[Measurement]) -> float:
    """Of those of the version that is most like the job as it is now; none of none."""
    return min((row.doubt_log for row in rows), default=0.0)


def earlier(rows: Sequence[Measurement]) -> str:
    """Of what version of the job they are, where it is not the present one."""
    return f", {rows[0].version}" if rows[0].version else ""


def in_steps(job: Job, rows: Sequence[Measurement]) -> list[Measurement]:
    """Measurements of whole runs as ones of steps, where others tell how many there are.

    Where the job says it, or nobody does, they are as they were.
    """
    steps = max((row.steps for row in rows if row.steps), default=None)
    if job.work is not None or steps is None:
        return list(rows)
    return [
        row if row.steps else replace(row, steps=steps, time_s=row.time_s / steps) for row in rows
    ]


def step_time_s(job: Job, row: Measurement) -> float:
    """Seconds per step of `job`. A row without steps timed the whole work."""
    if row.steps is None and job.work is not None:
        return row.time_s / job.work.steps
    return row.time_s
