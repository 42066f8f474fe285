"""First in, first out."""

from mlbroker.policies.queue.interface import Decisions, State
from mlbroker.policies.queue.placing import in_order


class Fifo:
    """Nobody passes anybody."""

    def decide(self, state: State) -> Decisions:
        """In the order of submission."""
        order = sorted(state.waiting, key=lambda job: (job.submitted_s, job.id))
        return in_order(state, order, "it came first")
