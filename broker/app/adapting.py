"""Under what a run may change its batch or its machine: what was measured at which batch."""

from collections.abc import Sequence
from pathlib import Path

from mlbroker.broker.app.own_quote import measured_names
from mlbroker.broker.evidence.store import MeasurementStore
from mlbroker.broker.measure.batches import at_batches
from mlbroker.broker.runs.order import AdaptTerms, LaunchOption
from mlbroker.profiles.batch import Adapt
from mlbroker.profiles.estimators.measured import RUN
from mlbroker.profiles.job import Job


def adapt_terms(
    job: Job, options: Sequence[LaunchOption], state: Path, *, steered: bool
) -> AdaptTerms | None:
    """None of a job that may not adapt, or has nothing to adapt; nor under a spot policy, which
    reckons with the steps that the job has.
    """
    batch = job.batch
    may = job.adapt is not Adapt.OFF and batch is not None and batch.can_be_told
    if not may or steered or job.checkpoint is None:
        return None
    # A run's own steps were made at another time, on a machine as busy as it then was: only what
    # was measured side by side tells batches apart.
    rows = [row for row in MeasurementStore(state).at_every_batch(job) if RUN not in row.extra]
    known = at_batches(job, rows)
    step_s = {
        option.instance_type: tuple(
            (row.batch, row.step_s) for row in known if row.config in measured_names(option)
        )
        for option in options
    }
    return AdaptTerms(job.adapt.value, {name: rows for name, rows in step_s.items() if rows})
