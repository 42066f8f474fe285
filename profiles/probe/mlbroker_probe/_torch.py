"""PyTorch: every optimizer step is a step, whatever trainer is built on top of it."""

import os
import sys
import time
from typing import Any, Dict, Set

from ._events import Counter, harmless
from ._noise import Noise
from ._remedies import know_compilers, wanted
from ._tokens import Tokens
from ._trial import watch_losses

_counter = Counter("torch")
_tokens = Tokens()
_noise = Noise()
_remedies = wanted(_counter.note)
# Between two words on tokens and noise the steps grow by so much.
GROWTH = 1.25
_told_due = 1.0
_stepped: Set[int] = set()
_batches = 0
_batches_at_step = 0
_batches_per_step: Dict[int, int] = {}
_skipped = 0


def begin(module: Any) -> None:
    """Hook into `torch` itself: nothing, unless its batches are to be changed or tried."""
    know_compilers(module)
    if _remedies is not None:
        _remedies.found(module)
    watch_losses(module, _counter.note)


def count_optimizer_steps(module: Any) -> None:
    """Hook into `torch.optim.optimizer`."""
    register = getattr(module, "register_optimizer_step_post_hook", None)
    if register is None:
        sys.stderr.write("mlbroker: this PyTorch is older than 2.0 and tells no steps\n")
        return
    _counter.announce("library", "torch")
    if _is_main_rank():
        register(_after_step)


def counted() -> int:
    """Steps of the optimizer so far."""
    return _counter.count


def tell(key: str, value: object) -> None:
    """Something to know beside the steps, of the main rank."""
    if _is_main_rank():
        _counter.note(key, value)


def _is_main_rank() -> bool:
    for name in ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK"):
        if os.environ.get(name, "0") != "0":
            return False
    return True


def _after_step(optimizer: Any, args: Any, kwargs: Any) -> None:
    # In a step that is compiled nothing of ours may stand: it would break the graph.
    if not sys.modules["torch"].compiler.is_compiling():
        _count(optimizer)


@harmless
def _count(optimizer: Any) -> None:
    global _batches_at_step, _told_due
    _noise.stepped(optimizer)
    # Several optimizers make one step together (a GAN's two): a new step begins when one of them
    # steps again. Two that work one after the other, in two phases, are thus counted in full.
    key = id(optimizer)
    if key in _stepped:
        _stepped.clear()
    elif _stepped:
        _stepped.add(key)
        return
    _stepped.add(key)
    _counter.add(1)
    loaded = _batches - _batches_at_step
    _batches_at_step = _batches
    count = _counter.count
    if loaded:
        _batches_per_step[loaded] = _batches_per_step.get(loaded, 0) + 1
    if count & (count - 1) == 0:  # 1, 2, 4, 8: often enough to be told, too rare to cost
        _tell()
    if loaded:
        _tokens.stepped(min(loaded, _usual_batches()))
    if count >= _told_due:
        _told_due = count * GROWTH
        for name, told in _tokens.notes() + _noise.notes():
            _counter.note(name, told)


def stepped_above(counter: Counter, batches: int) -> None:
    """A library with optimizers of its own made a step, of so many batches of PyTorch's loaders."""
    global _told_due
    _tokens.stepped(batches)
    if counter.count >= _told_due:
        _told_due = counter.count * GROWTH
        for name, told in _tokens.notes():
            counter.note(name, told)


def _usual_batches() -> int:
    return max(_batches_per_step, key=lambda loaded: _batches_per_step[loaded])


@harmless
def _see_tokens(batch: Any, iterator: Any) -> None:
    _tokens.saw(batch, getattr(iterator, "_collate_fn", None))


@harmless
def _group(loader: Any) -> None:
    if _remedies is not None:
        _remedies.begins(loader)


def _tell() -> None:
    torch = sys.modules.get("torch")
    _counter.note("torch", getattr(torch, "__version__", "?"))
    if _batches_per_step:
        _counter.note("batches_per_step", _usual_batches())
    if _skipped:
        _counter.note("skipped_steps", _skipped)


def count_skipped_steps(module: Any) -> None:
    """Steps that a gradient scaler leaves out are no optimizer steps; how many is told."""
    original = module.GradScaler.step

    def step(self: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        global _skipped
        before = _counter.count
        _noise.scaled(getattr(self, "_scale", None))
        if _remedies is not None and self.is_enabled():
            _remedies.scaled()
        result = original(self, optimizer, *args, **kwargs)
        if _counter.count == before:
            _noise.skipped()
        if _counter.count == before and not _stepped - {id(optimizer)}:
            _skipped += 1
        return result

    module.GradScaler.step = step


def watch_loading(module: Any) -> None:
    """Time the loop waits in a DataLoader, and the size of its batches."""
    iterator = module._BaseDataLoaderIter
    original = iterator.__next__

    def __next__(self: Any) -> Any:
        global _batches
        asked = time.perf_counter()
        batch = original(self)
        _counter.waited_s += time.perf_counter() - asked
        _batches += 1
        if _remedies is not None:
            batch = _remedies.handed(batch, self)
        _see_tokens(batch, self)
        _noise.loaded(batch)
        return batch

    iterator.__next__ = __next__
    begin = module.DataLoader.__iter__

    def __iter__(self: Any) -> Any:
        if _counter.count == 0 and getattr(self, "batch_size", None):
            _counter.note("batch_size", self.batch_size)
        _group(self)
        return begin(self)

    module.DataLoader.__iter__ = __iter__
