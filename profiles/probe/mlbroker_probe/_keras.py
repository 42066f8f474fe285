"""Keras: every training batch is a step."""

import sys
from typing import Any

from ._events import Counter

_counter = Counter("keras")
_last_batch = -1


def count_batches(module: Any) -> None:
    """Hook into the list of callbacks, which every `fit` goes through."""
    group = getattr(module, "CallbackList", None)
    if group is None or getattr(group, "_mlbroker_counts", False):
        return
    group._mlbroker_counts = True
    _counter.announce("library", "keras")
    original = group.on_train_batch_end

    def on_train_batch_end(self: Any, batch: int, logs: Any = None) -> Any:
        global _last_batch
        result = original(self, batch, logs)
        params = getattr(self, "params", None) or {}
        epochs, steps = params.get("epochs"), params.get("steps")
        if _counter.count == 0:
            _counter.note("keras", getattr(sys.modules.get("keras"), "__version__", "?"))
            if epochs and steps:
                _counter.total = int(epochs) * int(steps)
        # With `steps_per_execution` a batch is told for several.
        _counter.add(batch - _last_batch if batch > _last_batch else batch + 1)
        _last_batch = batch
        return result

    group.on_train_batch_end = on_train_batch_end
