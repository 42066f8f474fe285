"""What wastes a job's time and money, from what was measured of it and from its plan."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.plan import Planned, PlanQuery, plan
from mlbroker.broker.app.queue import others_usd_per_h
from mlbroker.broker.evidence.tries import Kept, TryStore
from mlbroker.policies.advice.machines import WithoutGpu, without_gpu
from mlbroker.policies.advice.proven import Worth, worth
from mlbroker.policies.advice.steps import StepsSeen, Waste, tokens_seen, wastes
from mlbroker.policies.planner.planner import Planner
from mlbroker.pricing.vendors import vendor
from mlbroker.profiles.measurement import Status
from mlbroker.profiles.trying import Arm


@dataclass(frozen=True, slots=True)
class Advised:
    """The plan that the figures rest on, and what was found. `tried` is the last trial of the job
    as it is now, and `worth` what of it is proven.
    """

    planned: Planned
    machines: WithoutGpu | None
    tokens: StepsSeen | None
    wastes: Sequence[Waste]
    tried: Kept | None
    worth: Worth | None


def advise(query: PlanQuery, state: Path, listener: Listener) -> Advised:
    """All that can be said of the job; what is unknown is None."""
    planned = plan(query, state, listener)
    job, rows = planned.request.job, planned.evidence.measurements
    found = wastes(job, rows, planned.plan.choice)
    tried = TryStore(state).for_job(job)
    best = None if tried is None else tried.trial.best
    saved = None if best is None else worth_on(planned, best)
    return Advised(planned, machines_of(planned, state), tokens_seen(rows), found, tried, saved)


def worth_on(planned: Planned, arm: Arm) -> Worth:
    """What proven remedies save on the plan's choice. The seconds of a run beside its steps are as
    last measured; 0 where nothing was.
    """
    rows = [row for row in planned.evidence.measurements if row.status is Status.OK]
    return worth(arm, planned.plan.choice, rows[-1].overhead_s if rows else 0.0)


def machines_of(planned: Planned, state: Path) -> WithoutGpu | None:
    """Whether the job needs a GPU; None where nothing is known of how long it takes."""
    if not planned.plan.known or planned.request.job.replicas is not None:
        return None
    found = without_gpu(Planner(planned.book, planned.plan.generated_at), planned.request)
    gpu = found.gpu
    if gpu is None or gpu.duration_h is None or not vendor(gpu.cloud).own:
        return found
    usd_per_h = others_usd_per_h(state, gpu.cloud, gpu.instance_type)
    return replace(found, gpu_others_usd=usd_per_h * Decimal(str(gpu.duration_h.p50)))
