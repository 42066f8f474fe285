"""In a trial of remedies: the loss of every backward pass is told, and its check has no chance.

MLBROKER_TRY_STEPS says how many steps it will make; with MLBROKER_TRY_CHECK dropout is off and
seeds are the same, so that two ways to compute the same give the same losses.
"""

import functools
import os
import random
from typing import Any, Callable, List

# So many losses stand in one note. They are read when as many came after them, so that nothing
# waits for an accelerator.
CHUNK = 8
MOST_LOSSES = 4096
_DROPOUTS = (
    *("dropout", "dropout1d", "dropout2d", "dropout3d"),
    *("alpha_dropout", "feature_alpha_dropout"),
)


class Losses:
    """Those of this process, in their order."""

    def __init__(self, chunk: int, behind: int, note: Callable[[str, object], None]) -> None:
        self._chunk = chunk
        self._behind = behind
        self._note = note
        self._told = 0
        self._pending: List[Any] = []

    def saw(self, loss: Any) -> None:
        """A backward pass begins from this value."""
        if loss.numel() != 1 or self._told >= MOST_LOSSES:
            return
        self._pending.append(loss.detach())
        if len(self._pending) < self._chunk + self._behind:
            return
        values = ["%.9g" % float(value) for value in self._pending[: self._chunk]]
        del self._pending[: self._chunk]
        self._note("loss_%d" % self._told, " ".join(values))
        self._told += len(values)


def watch_losses(torch: Any, note: Callable[[str, object], None]) -> None:
    """Hook into `torch`, where this is a trial."""
    if not os.environ.get("MLBROKER_TRY_STEPS"):
        return
    check = bool(os.environ.get("MLBROKER_TRY_CHECK"))
    losses = Losses(1, 0, note) if check else Losses(CHUNK, CHUNK, note)
    original = torch.Tensor.backward

    @functools.wraps(original)
    def backward(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not torch.compiler.is_compiling():
            losses.saw(self)
        return original(self, *args, **kwargs)

    torch.Tensor.backward = backward
    if check:
        random.seed(0)
        torch.manual_seed(0)
        _leave_dropout_out(torch.nn.functional)


def _leave_dropout_out(functional: Any) -> None:
    def without(original: Any) -> Any:
        @functools.wraps(original)
        def dropout(input: Any, p: float = 0.5, *args: Any, **kwargs: Any) -> Any:
            return original(input, 0.0, *args, **kwargs)

        return dropout

    for name in _DROPOUTS:
        setattr(functional, name, without(getattr(functional, name)))
    attend = functional.scaled_dot_product_attention

    @functools.wraps(attend)
    def attention(query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        names = ("attn_mask", "dropout_p", "is_causal")
        given = {name: args[place] for place, name in enumerate(names[: len(args)])}
        return attend(query, key, value, **{**given, **kwargs, "dropout_p": 0.0})

    functional.scaled_dot_product_attention = attention
