"""Training by goodput: which machines, how many GPUs, which batch, and when to move.

A new strategy is one file or a line here, and its entry.
"""

from collections.abc import Callable

from mlbroker.policies.adapt.adaptdl import AdaptDl
from mlbroker.policies.adapt.by_belief import ByBelief
from mlbroker.policies.adapt.interface import Candidate, Strategy, Terms


def _any(terms: Terms, one: Candidate) -> bool:
    return True


def _default(terms: Terms, one: Candidate) -> bool:
    return one.batch == terms.default_batch


def _default_per_gpu(terms: Terms, one: Candidate) -> bool:
    gpus = terms.machines[one.machines].layout.gpus
    return one.batch == min(terms.default_batch * gpus, terms.most_batch)


STRATEGIES: dict[str, Callable[[int], Strategy]] = {
    "auto": lambda seed: ByBelief(_any, seed),
    "fixed-batch": lambda seed: ByBelief(_default, seed),
    "batch-per-gpu": lambda seed: ByBelief(_default_per_gpu, seed),
    "fastest": lambda seed: ByBelief(_any, seed, minds_price=False),
    "adaptdl": AdaptDl,
}
