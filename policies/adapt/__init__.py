"""Training by goodput: which machines, how many GPUs, which batch, and when to move.

A new strategy is one file with a class and one entry here; it is made with a seed.
"""

from collections.abc import Callable

from mlbroker.policies.adapt.adaptdl import AdaptDl
from mlbroker.policies.adapt.auto import Auto
from mlbroker.policies.adapt.batch_per_gpu import BatchPerGpu
from mlbroker.policies.adapt.fastest import Fastest
from mlbroker.policies.adapt.fixed_batch import FixedBatch
from mlbroker.policies.adapt.interface import Strategy

STRATEGIES: dict[str, Callable[[int], Strategy]] = {
    "auto": Auto,
    "fixed-batch": FixedBatch,
    "batch-per-gpu": BatchPerGpu,
    "fastest": Fastest,
    "adaptdl": AdaptDl,
}
