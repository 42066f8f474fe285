"""Counts the steps of a loop for whoever measures it; costs nothing when nobody does.

    from mlbroker_probe import steps          or:   from mlbroker_probe import step

    for batch in steps(batches, total=300):         for batch in batches:
        train(batch)                                    train(batch)
                                                        step(total=300)

`mlbroker profile` and `mlbroker run` put this package on the Python path. Standard library only,
Python 3.8 and later.
"""

import os
import sys
import time
from typing import Any, Iterable, Iterator, Optional

from ._events import Counter
from ._loops import loop_around

__all__ = ["report", "step", "steps"]

_counter = Counter("steps") if os.environ.get("MLBROKER_PROBE_DIR") else None


def step(number: Optional[int] = None, *, total: Optional[int] = None) -> None:
    """Say that a step is done. `number` counts from 1; without it every call is one more step.

    `total` is the number of steps of the whole job, where it is known.
    """
    if _counter is None:
        return
    if total is not None:
        _counter.total = int(total)
    if number is None:
        _counter.add(1)
    else:
        _counter.reach(int(number))


def report(*, metric: float, at: int) -> None:
    """Tell the study that this is a trial of how good it is after step `at`, which counts from 1.

    To be called once the checkpoint of that step is saved. Nothing is printed without a study.
    """
    if "MLBROKER_TRIAL" in os.environ:
        sys.stdout.write("::mlbroker metric=%r at=%d\n" % (float(metric), int(at)))
        sys.stdout.flush()


def steps(iterable: Iterable[Any], *, total: Optional[int] = None) -> Iterable[Any]:
    """Iterate over `iterable`, one step for each turn of the loop.

    `total` is the number of steps of the whole job. Without it the length of `iterable` counts,
    unless the loop stands in another one: then it is entered again in every epoch, who knows how
    often, and the total is not known.
    """
    if _counter is None:
        return iterable
    return _Counted(iterable, total)


class _Counted:
    """The iterable, counted. Everything but iteration is the iterable's own."""

    def __init__(self, iterable: Iterable[Any], total: Optional[int]) -> None:
        self._iterable = iterable
        self._total = total

    def __iter__(self) -> Iterator[Any]:
        return self._turns(loop_around(sys._getframe(1)))

    def _turns(self, loop: Optional[str]) -> Iterator[Any]:
        counter = _counter
        assert counter is not None
        if self._total is not None:
            counter.total = int(self._total)
            counter.begin()
        else:
            counter.enter(_length(self._iterable), loop)
        iterator = iter(self._iterable)
        while True:
            asked = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            counter.waited_s += time.perf_counter() - asked
            yield item
            counter.add(1)

    def __len__(self) -> int:
        return len(self._iterable)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._iterable, name)


def _length(iterable: Iterable[Any]) -> Optional[int]:
    try:
        return len(iterable)  # type: ignore[arg-type]
    except TypeError:
        return None
