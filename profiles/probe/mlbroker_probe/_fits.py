"""What in a PyTorch job sees another training at another batch: batch normalisation, and learning
rates that follow the number of steps.
"""

from typing import Any

from ._events import harmless
from ._torch import counted, tell

# Steps of a schedule after which it is told whether it makes one with each of the optimizer.
_SURE = 16
# Where a schedule of PyTorch's has its length.
_LENGTHS = ("total_steps", "T_max", "total_iters")
_told_norm = False
_steps = 0


def watch_batch_norm(module: Any) -> None:
    """Hook into `torch.nn.modules.batchnorm`: whether the job makes such a layer."""
    original = module._BatchNorm.__init__

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        _saw_norm(type(self).__name__)

    module._BatchNorm.__init__ = __init__


def watch_schedules(module: Any) -> None:
    """Hook into `torch.optim.lr_scheduler`: whether a schedule ends at a step of the optimizer."""
    original = module.LRScheduler.step

    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        if _steps <= _SURE:
            _saw_schedule(self)
        return result

    module.LRScheduler.step = step


@harmless
def _saw_norm(name: str) -> None:
    global _told_norm
    if not _told_norm:
        _told_norm = True
        tell("batch_norm", name)


@harmless
def _saw_schedule(schedule: Any) -> None:
    global _steps
    lengths = [getattr(schedule, name) for name in _LENGTHS if hasattr(schedule, name)]
    if not lengths or counted() == 0:
        return  # it makes its own first step as it is made
    _steps += 1
    if _steps == _SURE and abs(counted() - _SURE) <= 1:
        tell("schedule", "%s of %s steps" % (type(schedule).__name__, lengths[0]))
