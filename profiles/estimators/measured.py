"""The step time of machines the job was measured on."""

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence

from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.prediction import Basis, Evidence, Prediction, Target

# Two machines of one type, or two days on one machine, differ by about this much (standard
# deviation of log time); repeats average it out, down to a floor that no averaging removes.
RUN_TO_RUN = 0.05
FLOOR = 0.02


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
        if row.status is not Status.OK:
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


def pool(job: Job, rows: Sequence[Measurement]) -> Prediction:
    """One prediction from repeats on the same hardware: the mean of log time, and its error."""
    logs = [math.log(step_time_s(job, row)) for row in rows]
    mean = sum(logs) / len(logs)
    own = sum((row.sigma_log or 0.0) ** 2 for row in rows) / len(rows) ** 2
    spread = RUN_TO_RUN
    if len(logs) > 1:
        # A small sample's spread is itself uncertain: count the usual spread as two more repeats.
        around = sum((value - mean) ** 2 for value in logs)
        spread = math.sqrt((around + 2 * RUN_TO_RUN**2) / (len(logs) + 1))
    sigma = math.sqrt(own + max(spread**2 / len(rows), FLOOR**2))
    place = rows[0].instance_type or rows[0].config
    times = "once" if len(rows) == 1 else f"{len(rows)} times"
    return Prediction(
        median_step_time_s=math.exp(mean),
        sigma_log=sigma,
        basis=Basis.MEASURED,
        evidence=f"measured {times} on {place}",
        overhead_s=sum(row.overhead_s for row in rows) / len(rows),
    )


def step_time_s(job: Job, row: Measurement) -> float:
    """Seconds per step of `job`. A row without steps timed the whole work."""
    if row.steps is None and job.work is not None:
        return row.time_s / job.work.steps
    return row.time_s
