"""The smallest rest first, preemptive."""

from mlbroker.policies.queue.interface import Decisions, Job, State
from mlbroker.policies.queue.placing import preempting


class ShortestRemaining:
    """By predicted place-hours that are left; whoever has more yields."""

    def decide(self, state: State) -> Decisions:
        """In the order of what is left."""
        return preempting(state, _by, "less is left of it")


def _by(job: Job) -> tuple[float, float, str]:
    return job.area_h, job.submitted_s, job.id
