"""First in, first out, with backfill."""

from mlbroker.policies.queue.interface import Decisions, State
from mlbroker.policies.queue.placing import backfilled


class Easy:
    """Who does not delay the first in line may pass it."""

    def decide(self, state: State) -> Decisions:
        """In the order of submission."""
        order = sorted(state.waiting, key=lambda job: (job.submitted_s, job.id))
        return backfilled(state, order, "it came first")
