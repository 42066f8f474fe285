"""Keras: every training batch is a step."""

import functools
import sys
from typing import Any

from ._events import Counter, harmless
from ._loops import loop_around, outside

_counter = Counter("keras")
_last_batch = -1


def count_batches(module: Any) -> None:
    """Hook into the list of callbacks, which every `fit` goes through."""
    group = getattr(module, "CallbackList", None)
    if group is None or getattr(group, "_mlbroker_counts", False):
        return
    group._mlbroker_counts = True
    _counter.announce("library", "keras")
    begin, end = group.on_train_begin, group.on_train_batch_end

    @functools.wraps(begin)
    def on_train_begin(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = begin(self, *args, **kwargs)
        _fit(getattr(self, "params", None) or {}, sys._getframe(1))
        return result

    @functools.wraps(end)
    def on_train_batch_end(self: Any, batch: Any, *args: Any, **kwargs: Any) -> Any:
        result = end(self, batch, *args, **kwargs)
        _batch(int(batch))
        return result

    group.on_train_begin, group.on_train_batch_end = on_train_begin, on_train_batch_end


@harmless
def _fit(params: Any, frame: Any) -> None:
    global _last_batch
    _last_batch = -1
    if _counter.count == 0:
        _counter.note("keras", getattr(sys.modules.get("keras"), "__version__", "?"))
    epochs, steps = params.get("epochs"), params.get("steps")
    whole = int(epochs) * int(steps) if epochs and steps else None
    _counter.enter(whole, loop_around(outside("keras", frame)))


@harmless
def _batch(batch: int) -> None:
    global _last_batch
    # With `steps_per_execution` a batch is told for several.
    steps = batch - _last_batch if batch > _last_batch else batch + 1
    _counter.add(steps)
    _last_batch = batch
    # On PyTorch its data adapters are loaders of PyTorch's.
    torch = sys.modules.get("mlbroker_probe._torch")
    if torch is not None:
        torch.stepped_above(_counter, steps)
