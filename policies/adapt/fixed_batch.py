"""As auto, with the default batch for ever."""

from mlbroker.policies.adapt.by_belief import ByBelief
from mlbroker.policies.adapt.interface import Candidate, Terms


class FixedBatch(ByBelief):
    """Machines are chosen, the batch is not."""

    def allows(self, terms: Terms, one: Candidate) -> bool:
        """The default batch alone."""
        return one.batch == terms.default_batch
