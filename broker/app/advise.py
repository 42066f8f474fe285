"""What wastes a job's time and money, from what was measured of it and from its plan."""

from dataclasses import dataclass
from pathlib import Path

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.plan import Planned, PlanQuery, plan
from mlbroker.policies.advice.machines import WithoutGpu, without_gpu
from mlbroker.policies.planner.planner import Planner
from mlbroker.profiles.job import Job


@dataclass(frozen=True, slots=True)
class Advised:
    """The plan that the figures rest on, and what was found."""

    job: Job
    planned: Planned
    machines: WithoutGpu | None


def advise(query: PlanQuery, state: Path, listener: Listener) -> Advised:
    """All that can be said of the job; what is unknown is None."""
    planned = plan(query, state, listener)
    return Advised(planned.request.job, planned, machines_of(planned))


def machines_of(planned: Planned) -> WithoutGpu | None:
    """Whether the job needs a GPU; None where nothing is known of how long it takes."""
    if not planned.plan.known or planned.request.job.replicas is not None:
        return None
    planner = Planner(planned.book, planned.plan.generated_at)
    return without_gpu(planner, planned.request)
