"""What a replica of a service serves, among the measurements that are kept."""

from collections.abc import Iterable

from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.service import Measured, objective_key

# What a measurement of a capacity holds beside the others' fields.
RPS, LOW_RPS, FOR = "capacity_rps", "capacity_low_rps", "capacity_for"
TOKENS, AT_LEAST = "tokens_per_request", "at_least"


def is_capacity(row: Measurement) -> bool:
    """Whether it is one of a service: its time is of no job."""
    return RPS in row.extra


def capacity_of(job: Job, rows: Iterable[Measurement]) -> Measured | None:
    """The latest capacity at the objective that the service has now; None where there is none."""
    if job.service is None or job.service.objective is None:
        return None
    wanted = objective_key(job.service.objective)
    found = None
    for row in rows:
        if is_capacity(row) and row.extra[FOR] == wanted:
            tokens = row.extra.get(TOKENS)
            found = Measured(
                float(row.extra[RPS]),
                float(row.extra[LOW_RPS]),
                row.config,
                None if tokens is None else float(tokens),
            )
    return found
