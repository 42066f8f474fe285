"""What is kept of a job at several batches, for the plan that chooses one or only says a word."""

from collections.abc import Sequence

from mlbroker.broker.evidence.store import MeasurementStore, is_other_batch
from mlbroker.broker.numbers import load_numpy
from mlbroker.profiles.batch import Adapt
from mlbroker.profiles.batches_seen import BatchesSeen
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement

CHOSEN = (Adapt.BATCH, Adapt.MOVE)


def of_own_batch(job: Job, rows: Sequence[Measurement]) -> list[Measurement]:
    """Those that count steps of the job as it is."""
    return [row for row in rows if not is_other_batch(row, job)]


def seen_at_batches(
    job: Job, store: MeasurementStore, table: Sequence[Measurement] = ()
) -> BatchesSeen | None:
    """All that is known of the job's batches, from the store and a table of this call; None where
    the batch is none of a plan's questions: a study's trials and a service have none to choose.
    """
    if job.batch is None or job.adapt is Adapt.OFF or job.study or job.replicas:
        return None
    return BatchesSeen.of(job.batch, [*store.at_every_batch(job), *table])


def chosen_batches(
    job: Job, store: MeasurementStore, table: Sequence[Measurement] = ()
) -> BatchesSeen | None:
    """The same where the choice is to have the best batch, and enough is known of that."""
    seen = seen_at_batches(job, store, table) if job.adapt in CHOSEN else None
    if seen is None or job.batch is None or not seen.enough(job.batch):
        return None
    # The planner needs it for such a job, and with one thread.
    load_numpy()
    return seen
