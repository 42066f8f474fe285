"""Batches of like lengths, from a loader that shuffles in the plain way.

Within each window of so many batches the rows are ordered by length, cut into batches, and the
batches shuffled: every row still comes once an epoch, and stays within its window. No random
number of the job's is used for it: the same order of the job's gives the same batches. What the
last, smaller batch holds, or what is dropped for it, is as the job's own order says.
"""

import random
import sys
from array import array
from collections import deque
from itertools import islice
from typing import Any, Callable, Deque, Iterator, List, Optional

from ._trim import Refused, mask_of

# So few windows in an epoch would give the same batches in every one (as in Hugging Face's
# LengthGroupedSampler): of a small set the windows are smaller.
LEAST_WINDOWS = 4
# Of so many rows the length is known, or they are not grouped; others count as the middle one.
LEAST_KNOWN = 0.9
# A RandomSampler with a seed of its own for each epoch: what Hugging Face's Trainer trains with.
SEEDED = ("accelerate.data_loader", "SeedableRandomSampler")


class Grouped:
    """In place of a plain BatchSampler over a RandomSampler, and as long as it.

    `say` is told when grouping begins, or why not. `ahead` rows of an epoch are read for their
    lengths before it: in a trial, which ends long before its first epoch.
    """

    def __init__(
        self, loader: Any, window: int, say: Callable[[str, bool], None], ahead: int
    ) -> None:
        self.inner = loader.batch_sampler
        self._loader = loader
        self._window = window
        self._say = say
        self._ahead = ahead
        rows = len(loader.dataset)
        self._lengths = _column_lengths(loader.dataset) or array("i", [-1]) * rows
        self.by_column = self._lengths[0] >= 0
        self._known = rows if self.by_column else 0
        self._epochs = 0

    def __len__(self) -> int:
        return len(self.inner)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __iter__(self) -> "Round":
        self._epochs += 1
        if len(self._loader.dataset) != len(self._lengths):
            self._say("its data have other rows than before", False)
            return Round(self, iter(self.inner), None)
        if self.by_column:
            self._say("on: lengths by a column", True)
            return Round(self, self._batches(iter(self.inner.sampler)), None)
        if self._ahead:
            return self._read_ahead()
        if self._known >= LEAST_KNOWN * len(self._lengths):
            self._say("on: lengths by the masks of the first epoch", True)
            return Round(self, self._batches(iter(self.inner.sampler)), deque())
        told = "%d of %d rows" % (self._known, len(self._lengths))
        later = "its masks told the lengths of %s only" % told
        self._say(later if self._epochs > 1 else "until its first epoch has told lengths", False)
        return Round(self, iter(self.inner), deque())

    def learn(self, rows: List[int], batch: Any) -> None:
        """These rows came as this batch."""
        lengths = (mask_of(batch) != 0).sum(1).tolist()
        if len(lengths) != len(rows):
            return  # some were left out of it, nobody knows which
        for place, length in enumerate(lengths):
            self._known += self._lengths[rows[place]] < 0
            self._lengths[rows[place]] = length

    def refuse(self, reason: str) -> None:
        """Batches tell no lengths."""
        self._say(reason, False)

    def _read_ahead(self) -> "Round":
        order = list(self.inner.sampler)
        try:
            self._read(order[: self._ahead])
        except Refused as refused:
            self.refuse(str(refused))
            return Round(self, iter(self.inner), None)
        self._say("on: lengths by the masks of the first epoch", True)
        return Round(self, self._batches(iter(order)), None)

    def _read(self, order: List[int]) -> None:
        loader = self._loader
        order = [row for row in order if self._lengths[row] < 0]
        for start in range(0, len(order), self.inner.batch_size):
            rows = order[start : start + self.inner.batch_size]
            self.learn(rows, loader.collate_fn([loader.dataset[row] for row in rows]))

    def _batches(self, order: Iterator[int]) -> Iterator[List[int]]:
        size, left = self.inner.batch_size, len(self.inner.sampler)
        known = sorted(length for length in self._lengths if length >= 0)
        middle = known[len(known) // 2] if known else 0

        def length(row: int) -> int:
            found = self._lengths[row]
            return middle if found < 0 else found

        while left >= size:
            rows = list(islice(order, min(self._window, left // size) * size))
            left -= len(rows)
            chance = random.Random(",".join(map(str, rows[:16])))
            rows.sort(key=length)
            batches = [rows[i : i + size] for i in range(0, len(rows), size)]
            chance.shuffle(batches)
            for batch in batches:
                yield batch
        rest = list(order)  # asked to its end, as the job's order draws its chance there too
        if rest and not self.inner.drop_last:
            yield rest


class Round:
    """One epoch's batches. Those that were asked for and did not come yet are remembered, where
    there is something to learn from them.
    """

    def __init__(
        self, owner: Grouped, batches: Iterator[List[int]], given: Optional[Deque[List[int]]]
    ) -> None:
        self._owner = owner
        self._batches = batches
        self._given = given

    def __iter__(self) -> "Round":
        return self

    def __next__(self) -> List[int]:
        rows = next(self._batches)
        if self._given is not None:
            self._given.append(rows)
        return rows

    def came(self, batch: Any) -> None:
        """The first of them came."""
        if not self._given:
            return
        try:
            self._owner.learn(self._given.popleft(), batch)
        except Refused as refused:
            self._given = None
            self._owner.refuse(str(refused))
        except Exception as error:  # whatever a batch may be, the job goes on
            self._given = None
            self._owner.refuse("it fails: %r" % error)


def window_of(loader: Any, wanted: int) -> int:
    """In how many batches at a time the rows of this loader may be ordered; Refused where its
    order is not a plain random one, or there are too few.
    """
    data = sys.modules["torch.utils.data"]
    sampler = loader.batch_sampler
    if isinstance(loader.dataset, data.IterableDataset):
        raise Refused("an IterableDataset has no rows to choose from")
    if sampler is None:
        raise Refused("its data come in batches already")
    if type(sampler) is not data.BatchSampler:
        raise Refused("it has a batch sampler of its own, %s" % type(sampler).__name__)
    kind = type(sampler.sampler)
    if kind is not data.RandomSampler and (kind.__module__, kind.__name__) != SEEDED:
        raise Refused("its order is a %s's" % kind.__name__)
    if not getattr(loader, "in_order", True):
        raise Refused("its batches come out of order")
    rows, size = len(sampler.sampler), int(sampler.batch_size)
    window = min(wanted, rows // (LEAST_WINDOWS * size))
    if window < 2:
        raise Refused("%d rows in batches of %d are too few" % (rows, size))
    return window


def _column_lengths(data: Any) -> Optional["array[int]"]:
    """By a column `length` or `input_ids`; None where there is none, or it was padded already."""
    indices = getattr(data, "indices", None)
    if type(data).__name__ == "Subset" and indices is not None:
        whole = _column_lengths(data.dataset)
        return None if whole is None else array("i", [whole[i] for i in indices])
    names = getattr(data, "column_names", None)
    first = data[0] if type(data) in (list, tuple) and data else None
    if isinstance(names, (list, tuple)):
        values = _column(data, names)
    elif isinstance(first, dict):
        name = next((n for n in ("length", "input_ids") if n in first), None)
        values = [row[name] for row in data] if name else None
    else:
        return None
    if values is None:
        return None
    found = array("i", [v if isinstance(v, int) else len(v) for v in values])
    plain = len(found) == len(data) and min(found) >= 0 and max(found) > min(found)
    return found if plain else None


def _column(data: Any, names: Any) -> Any:
    """As `datasets` of Hugging Face have them: reading a column calls nothing of the job's."""
    for name in ("length", "input_ids"):
        if name in names:
            return data[name]
    return None
