"""Which gradients are looked at, and whether they can tell anything."""

import sys
import weakref
from collections.abc import Mapping
from typing import Any, List, NamedTuple, Tuple

# Coordinates of the gradient that are looked at.
COORDINATES = 1 << 17
_SHARDS = ("DTensor", "FlatParameter", "ShardedTensor")
# The DDP modules of this process.
_modules: Any = weakref.WeakSet()


class Look(NamedTuple):
    """Where the looked-at coordinates of one parameter lie, in it and among all."""

    parameter: Any
    first: int
    begin: int
    end: int


def watch_ddp(module: Any) -> None:
    """Hook into `torch.nn.parallel.distributed`: who averages which gradients."""
    original = module.DistributedDataParallel.__init__

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        _modules.add(self)

    module.DistributedDataParallel.__init__ = __init__


def averaged_over(parameters: List[Any]) -> Tuple[int, str]:
    """Over how many ranks DDP averages all these gradients, and why that is not known."""
    torch = sys.modules["torch"]
    distributed = torch.distributed
    if not distributed.is_available() or not distributed.is_initialized():
        return 1, "Horovod's ranks" if "horovod.torch" in sys.modules else ""
    world = distributed.get_world_size()
    if world == 1:
        return 1, ""
    wanted = {id(parameter) for parameter in parameters}
    for module in list(_modules):
        if wanted <= {id(parameter) for parameter in module.parameters()}:
            averaged = module.process_group.size()
            return averaged, "" if averaged == world else "ranks of several groups"
    return 1, "ranks whose gradients are not averaged by DDP"


def rows(batch: Any) -> int:
    """Samples of a batch: the first dimension that all its tensors have; 0 where they have none."""
    if getattr(batch, "shape", None) is not None:
        found = {_first(batch)}
    else:
        named = isinstance(batch, Mapping)
        parts = batch.values() if named else batch if isinstance(batch, (list, tuple)) else ()
        found = {rows(part) if isinstance(part, Mapping) else _first(part) for part in parts}
    found.discard(0)
    return found.pop() if len(found) == 1 else 0


def _first(value: Any) -> int:
    shape = getattr(value, "shape", None)
    return int(shape[0]) if shape is not None and len(shape) else 0


def parameters_of(optimizer: Any) -> List[Any]:
    """All that it may change."""
    return [
        parameter
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter.requires_grad
    ]


def unfit(optimizer: Any, parameters: List[Any]) -> str:
    """Why these gradients tell nothing; empty where they may."""
    if not parameters:
        return "an optimizer without parameters"
    if type(optimizer).__name__ == "LBFGS":
        return "an optimizer that asks for several gradients a step"
    if "deepspeed" in sys.modules:
        return "shards of DeepSpeed"
    for parameter in parameters:
        kinds = {kind.__name__ for kind in type(parameter).__mro__}
        if kinds.intersection(_SHARDS) or getattr(parameter, "_fsdp_flattened", False):
            return "shards of FSDP"
        if not parameter.is_leaf or not parameter.is_floating_point():
            return "parameters that are no plain ones"
    if len({parameter.device for parameter in parameters}) > 1:
        return "parameters on several devices"
    return ""


def places(parameters: List[Any]) -> Tuple[int, List[Look]]:
    """Every so manieth coordinate of all parameters one after the other."""
    total = sum(parameter.numel() for parameter in parameters)
    stride = max(1, -(-total // COORDINATES))
    looks: List[Look] = []
    before = begin = 0
    for parameter in parameters:
        first = -before % stride
        taken = len(range(first, parameter.numel(), stride))
        before += parameter.numel()
        if taken:
            looks.append(Look(parameter, first, begin, begin + taken))
            begin += taken
    return stride, looks
