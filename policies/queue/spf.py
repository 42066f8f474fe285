"""The smallest job first, with backfill."""

from mlbroker.policies.queue.interface import Decisions, State
from mlbroker.policies.queue.placing import backfilled


class ShortestPredictedFirst:
    """By predicted place-hours; running jobs run to their end."""

    def decide(self, state: State) -> Decisions:
        """In the order of what is left."""
        order = sorted(state.waiting, key=lambda job: (job.area_h, job.submitted_s, job.id))
        return backfilled(state, order, "it is the smallest")
