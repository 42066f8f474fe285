"""What a replica of a service serves, among the measurements that are kept."""

from collections.abc import Iterable, Mapping

from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.service import Measured, objective_key

# What a measurement of a capacity holds beside the others' fields.
RPS, LOW_RPS, FOR = "capacity_rps", "capacity_low_rps", "capacity_for"
TOKENS, AT_LEAST = "tokens_per_request", "at_least"


def is_capacity(row: Measurement) -> bool:
    """Whether it is one of a service: its time is of no job."""
    return RPS in row.extra


def capacities_of(job: Job, rows: Iterable[Measurement]) -> dict[str, Measured]:
    """By configuration, the latest capacity at the objective that the service has now; of all of
    them the latest is last."""
    found: dict[str, Measured] = {}
    if job.service is None or job.service.objective is None:
        return found
    wanted = objective_key(job.service.objective)
    for row in rows:
        if is_capacity(row) and row.extra[FOR] == wanted:
            tokens = row.extra.get(TOKENS)
            found.pop(row.config, None)
            found[row.config] = Measured(
                float(row.extra[RPS]),
                float(row.extra[LOW_RPS]),
                row.config,
                None if tokens is None else float(tokens),
            )
    return found


def nearest_capacity(known: Mapping[str, Measured], config: str | None) -> Measured | None:
    """As measured on this configuration, else the latest on another; None where there is none."""
    latest = next(reversed(list(known.values())), None)
    return latest if config is None else known.get(config, latest)
