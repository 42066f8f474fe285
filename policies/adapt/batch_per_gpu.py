"""As auto, with the default batch on each GPU, up to the ceiling."""

from mlbroker.policies.adapt.by_belief import ByBelief
from mlbroker.policies.adapt.interface import Candidate, Terms


class BatchPerGpu(ByBelief):
    """What people do who scale the batch with the GPUs."""

    def allows(self, terms: Terms, one: Candidate) -> bool:
        """As many default batches as there are GPUs."""
        gpus = terms.machines[one.machines].layout.gpus
        return one.batch == min(terms.default_batch * gpus, terms.most_batch)
