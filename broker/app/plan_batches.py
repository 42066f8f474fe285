"""What a plan says of the job's batch, beside the choice that it makes."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mlbroker.broker.evidence.batches import CHOSEN, seen_at_batches
from mlbroker.broker.evidence.store import MeasurementStore
from mlbroker.broker.numbers import load_numpy
from mlbroker.policies.planner.batch_advice import MoreGpus, at_best_batch, more_gpus
from mlbroker.policies.planner.plan import Plan, PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.profiles.batches_seen import BatchesSeen
from mlbroker.profiles.measurement import Measurement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlbroker.broker.measure.batches import AtBatch


class Batches(NamedTuple):
    """What was `seen`; steps as they were `measured`; and, where the choice keeps the job's own
    batch, the plan that would be with the batch `free`.
    """

    seen: BatchesSeen
    measured: "Sequence[AtBatch]"
    free: Plan | None


def batches_of(
    made: Plan, request: PlanRequest, planner: Planner, state: Path, table: "Sequence[Measurement]"
) -> Batches | None:
    """None of a job that has no batch to speak of; nothing is read for it."""
    job = request.job
    seen = seen_at_batches(job, MeasurementStore(state), table)
    if seen is None or job.batch is None:
        return None
    # Costs numpy's import, which most plans do without.
    load_numpy()
    from mlbroker.broker.measure.batches import at_batches

    free = None
    if made.known and job.adapt not in CHOSEN and seen.enough(job.batch):
        free = at_best_batch(planner, request, seen)
    return Batches(seen, at_batches(job, seen.rows), free)


def larger_machines(made: Plan, request: PlanRequest, planner: Planner) -> tuple[MoreGpus, ...]:
    """The choice's GPU in greater numbers; nothing of what never ends, or has no GPU."""
    if made.choice is None or not made.known or request.job.replicas is not None:
        return ()
    return tuple(more_gpus(planner, request, made.choice))
