"""The gradient noise scale of a training as it is, from gradients that it makes anyway.

| symbol | here | unit |
| --- | --- | --- |
| n | `parts` | gradients that are compared: of steps, passes and ranks |
| b | `size` | samples of one pass on one rank |
| tr(Σ) | `spread` | variance of a sample's gradient, summed over parameters |
| G | `signal` is |G|² | the gradient without noise |

With small = mean |g_i|² and big = |mean g|²: |G|² = (n·big - small) / (n - 1),
tr(Σ)/b = (small - big)·n / (n - 1), and φ = tr(Σ) / |G|² (McCandlish et al., "An Empirical Model of
Large-Batch Training", 2018, appendix A). Both are means over many looks, the latest most.

Gradients are copied as they are made, before anyone clips or unscales them; those that DDP has
averaged once a backward pass has ended. No rank talks to another for it: the main one compares its
own gradients with the average. Looks are rare, and take little of the time (see `_cost`).
"""

import math
import os
import sys
import weakref
from collections import deque
from functools import partial
from typing import Any, Deque, List, Optional, Tuple

from ._cost import Cost
from ._gradients import Look, averaged_over, parameters_of, places, rows, unfit

# So many gradients are compared at a time, of as many steps as it takes.
PARTS = 8
# One step in so many is looked at; of the first ones all, then ever fewer, as jobs that are
# measured end soon.
RARELY, DENSE = 50, 64
# Of the steps so far, about this share counts, the latest.
KEPT = 0.5
# Steps without a gradient at which nothing more is awaited.
MOST_EMPTY = 3
# Fewer looks tell nothing, and an error above this one neither: about a factor of two.
LEAST_LOOKS, WORST_SIGMA = 8, 0.7


class _Means:
    """Means over time of two numbers and of their products, in which the past fades."""

    def __init__(self) -> None:
        self.looks = 0
        self._at = 0
        self._sums = [0.0] * 5
        self._weight = 0.0
        self._weight_squared = 0.0

    def add(self, spread: float, signal: float, at: int) -> None:
        """One look more, at step `at`: it stands for the steps since the last one."""
        since, self._at = at - self._at, at
        kept = math.exp(-since / (KEPT * at))
        new = (spread, signal, spread * spread, signal * signal, spread * signal)
        self._sums = [kept * self._sums[n] + since * new[n] for n in range(len(new))]
        self._weight = kept * self._weight + since
        self._weight_squared = kept * kept * self._weight_squared + since * since
        self.looks += 1

    def ratio(self) -> Optional[Tuple[float, float]]:
        """Spread over signal, and the standard error of its logarithm; None while it tells
        nothing.
        """
        if self.looks < LEAST_LOOKS:
            return None
        x, y, xx, yy, xy = (total / self._weight for total in self._sums)
        if not (x > 0 and y > 0):
            return None
        relative = (xx / x - x) / x + (yy / y - y) / y - 2 * (xy / x - y) / y
        counted = self._weight**2 / self._weight_squared
        sigma = math.sqrt(max(0.0, relative) / (counted - 1))
        return (x / y, sigma) if sigma <= WORST_SIGMA and math.isfinite(x / y) else None


class Noise:
    """Looks at the gradients of the one optimizer of this process, while it is measured."""

    def __init__(self) -> None:
        self.unknown = ""
        # A run, which asks for fewer steps too, says so where it has a use for it.
        asked = "MLBROKER_PROBE_NOISE" in os.environ
        self._off = "MLBROKER_PROBE_EVERY_S" in os.environ and not asked
        self._means = _Means()
        self._optimizer: Any = None
        self._before: List[Any] = []
        self._steps = 0
        self._due = 0
        self._empty = 0
        self.cost = Cost()
        self._sizes: Deque[int] = deque(maxlen=4096)
        self._has_loader = False
        self._sized: Optional[bool] = None
        self._told = (0, 0, 0)
        self._ranks = 1
        self._scale: Any = 1.0
        self._stride = 1
        self._looks: List[Look] = []
        self._handles: List[Any] = []
        self._clear()

    def loaded(self, batch: Any) -> None:
        """The loop was handed a batch."""
        if not self._off:
            self._has_loader = True
            try:
                self._sizes.append(rows(batch))
            except Exception:
                self._sizes.append(0)

    def scaled(self, scale: Any) -> None:
        """The gradients of the coming step are multiplied by this tensor, or None by nothing."""
        self._scale = 1.0 if scale is None else scale

    def skipped(self) -> None:
        """A step was left out, as its gradients had overflown."""
        self._close()
        self._sizes.clear()

    def stepped(self, optimizer: Any) -> None:
        """The optimizer made a step."""
        if self._off:
            return
        if self._knows(optimizer) and not self._handles and not self._is_due(self._steps + 1):
            # Most steps: not even the clock of the thread is read, which is a system call.
            self._steps += 1
            self._sizes.clear()
            self.cost.no_look()
            return
        self.cost.enter()
        try:
            self._step(optimizer)
        except Exception as error:
            self._fail(error)
        self.cost.leave()

    def notes(self) -> List[Tuple[str, object]]:
        """What is to be told, as keys and values."""
        if self.unknown:
            return [("noise_unknown", self.unknown)]
        size, passes, ranks = self._told
        parts = passes * ranks
        if not parts:
            return []
        told: List[Tuple[str, object]] = [
            ("noise_looks", self._means.looks),
            ("noise_passes", passes),
            ("noise_ranks", ranks),
        ]
        if size:
            told.append(("noise_batch", parts * size))
        found = self._means.ratio()
        if found is not None:
            ratio, sigma = found
            told.append(("noise_per_batch", "%.5g" % (ratio / (parts * size if size else parts))))
            told.append(("noise_sigma", "%.3g" % sigma))
        return told

    def _knows(self, optimizer: Any) -> bool:
        return self._optimizer is not None and self._optimizer() is optimizer

    def _is_due(self, step: int) -> bool:
        """Whether a look may begin at the end of this step."""
        return step >= self._due and self.cost.allows_a_look()

    def _step(self, optimizer: Any) -> None:
        if not self._knows(optimizer):
            self._meet(optimizer)
            if self._off:
                return
        self._steps += 1
        if self._handles:
            self.cost.looked()
            self._end_step()
            if self._off or self._handles or not self._is_due(self._steps):
                return
        else:
            self._sizes.clear()
        # The first ones follow each other: nothing is between them that could be held to them.
        if self._steps < DENSE or self.cost.knows_a_step():
            self._open(optimizer)

    def _meet(self, optimizer: Any) -> None:
        """An optimizer that was not seen before; the one before must have ended its work."""
        if any(known() is optimizer for known in self._before):
            self._give_up("several optimizers")
            return
        self._close()
        self._before = [known for known in (*self._before, self._optimizer) if known and known()]
        self._optimizer, self._means = weakref.ref(optimizer), _Means()
        self._steps = self._due = self._empty = 0
        self.cost.begin()
        found = parameters_of(optimizer)
        why = unfit(optimizer, found)
        self._ranks, shared = averaged_over(found)
        if why or shared:
            self._give_up(why or shared)

    def _open(self, optimizer: Any) -> None:
        """From now on the gradients are looked at."""
        torch = sys.modules["torch"]
        found = parameters_of(optimizer)
        if found[0].is_cuda and torch.cuda.is_current_stream_capturing():
            self._give_up("steps are recorded as CUDA graphs")
            return
        self._stride, self._looks = places(found)
        count = self._looks[-1].end
        device = found[0].device
        self._buffer = torch.zeros(count, device=device)
        self._total = torch.zeros(count, device=device)
        self._clear()
        for number, look in enumerate(self._looks):
            hook = partial(self._saw, number)
            # Else whoever saves the whole model is warned that a hook is not saved with it.
            hook.__torch_unserializable__ = True  # type: ignore[attr-defined]
            self._handles.append(look.parameter.register_hook(hook))
        self.cost.open()

    def _clear(self) -> None:
        """Nothing is seen yet of what is compared."""
        self._passes = self._passes_seen = 0
        self._queued = False
        self._seen = [0] * len(self._looks)
        self._squares: Any = 0.0
        # Of the steps that are compared: parts, sum of |g_i|², the sum of g_i, and rows in a pass.
        self._parts = self._looked = 0
        self._all_squares: Any = 0.0
        self._all_total: Any = None
        self._rows: Optional[int] = None

    def _saw(self, number: int, gradient: Any) -> None:
        """A parameter's gradient of this pass, on its way to where all passes are summed."""
        if self._off:
            return
        self.cost.enter()
        try:
            self._copy(number, gradient)
        except Exception as error:
            self._fail(error)
        self.cost.leave()

    def _copy(self, number: int, gradient: Any) -> None:
        torch = sys.modules["torch"]
        if gradient.layout is not torch.strided:
            self._give_up("sparse gradients")
            return
        if gradient.is_cuda and torch.cuda.is_current_stream_capturing():
            self._give_up("steps are recorded as CUDA graphs")
            return
        if not self._queued:
            self._queued = True
            self._buffer.zero_()
            self._at_the_end(self._passed)
        look = self._looks[number]
        taken = gradient.detach().reshape(-1)[look.first :: self._stride]
        self._buffer[look.begin : look.end].copy_(taken)
        self._seen[number] += 1

    def _at_the_end(self, call: Any) -> None:
        """Have it called once this backward pass has ended."""
        engine = sys.modules["torch"].autograd.Variable._execution_engine
        engine.queue_callback(partial(self._guarded, call))

    def _guarded(self, call: Any) -> None:
        if self._off or not self._handles:
            return
        self.cost.enter()
        try:
            call()
        except Exception as error:
            self._fail(error)
        self.cost.leave()

    def _passed(self) -> None:
        self._queued = False
        self._passes += 1
        self._squares = self._squares + self._buffer.dot(self._buffer)
        if self._ranks == 1:
            self._total += self._buffer
        else:
            # DDP's own call, which puts the average in place, was queued after ours.
            self._at_the_end(self._averaged)

    def _averaged(self) -> None:
        for look in self._looks:
            gradient = look.parameter.grad
            part = self._total[look.begin : look.end]
            if gradient is None:
                part.zero_()
            else:
                part.copy_(gradient.detach().reshape(-1)[look.first :: self._stride])

    def _end_step(self) -> None:
        sizes = list(self._sizes)
        self._sizes.clear()
        passes = self._passes
        self._passes = 0
        self._passes_seen += passes
        if not passes:
            # Some make a first step without gradients, for a schedule.
            self._empty += 1
            self._close()
            if self._empty >= MOST_EMPTY:
                self._give_up("no gradients of its parameters")
            return
        if max(self._seen) < self._passes_seen:
            self._give_up("backward passes over parts of the model")
            return
        if self._has_loader and 0 < len(sizes) < passes:
            self._give_up("a batch goes through several passes")
            return
        taken = set(sizes[-passes:])
        size = taken.pop() if len(taken) == 1 else None if taken else 0
        if size is None or size != (size if self._rows is None else self._rows):
            # Rows of another weight, as an epoch's last: what came before them stands by itself.
            if self._parts > 1:
                self._compare()
            else:
                self._close()
            return
        self._rows = size
        factor = 1.0 / self._scale
        self._all_squares = self._all_squares + self._squares * factor**2
        self._squares = 0.0
        # Over ranks .grad is averaged, over passes summed.
        added = self._total * (factor * self._ranks)
        self._all_total = added if self._all_total is None else self._all_total + added
        self._total.zero_()
        self._parts += passes * self._ranks
        self._looked += 1
        if self._parts >= PARTS:
            self._compare()

    def _compare(self) -> None:
        """All parts of the steps that were looked at."""
        torch = sys.modules["torch"]
        parts, size, mean = self._parts, self._rows or 0, self._all_total / self._parts
        small = self._all_squares * self._ranks / parts
        small, big = torch.stack([small, mean.dot(mean)]).tolist()
        looked, passes = self._looked, self._parts // (self._ranks * self._looked)
        self._close()
        self._due = self._steps + looked * min(RARELY - 1, self._steps // DENSE)
        if not (math.isfinite(small) and math.isfinite(big)):
            return
        if self._sized is not None and self._sized != bool(size):
            self._means = _Means()
        self._sized, self._told = bool(size), (size, passes, self._ranks)
        signal = (parts * big - small) / (parts - 1)
        spread = (size or 1) * (small - big) * parts / (parts - 1)
        self._means.add(spread, signal, self._steps)

    def _close(self) -> None:
        """Nothing is looked at until the next time."""
        handles, self._handles = self._handles, []
        for handle in handles:
            handle.remove()
        self.cost.close()
        self._looks = []
        self._buffer = self._total = None
        self._clear()

    def _give_up(self, why: str) -> None:
        self.unknown, self._off = why, True
        self._close()

    def _fail(self, error: Exception) -> None:
        """The job goes on, whatever happens here."""
        sys.stderr.write("mlbroker: the gradient noise is not looked at: %r\n" % error)
        self._off, self.unknown = True, "looking at the gradients failed"
        try:
            self._close()
        except Exception:
            self._handles = []
