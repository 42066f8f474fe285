"""Places configurations (machines, clusters, batch sizes) in a space where alike ones are near."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mlbroker.profiles.arrays import Array

# Two columns that move together like this carry the same fact.
SAME_COLUMN = 0.999
# Among few machines or much alike ones a factor of two is no world apart: a spread of logarithms
# below this is not blown up.
LEAST_SPREAD = math.log(2)
CAPACITY = re.compile(r"mem|ram|gib|^nodes$")
RATE = re.compile(r"_per_|bandwidth|gb_s|gbps")
# Run time falls far slower than compute grows: most jobs leave most of a large machine idle.
COMPUTE_EXPONENT = 0.25
# A column that counts or measures GPUs, and how much faster a machine is expected to be for having
# one: the data-sheet estimator's view of a T4 on small networks, against one vCPU.
GPU = re.compile(r"gpu")
GPU_GAIN = math.log(8)
# With nothing else known, a dearer machine is a faster one, but not by much.
PRICE_EXPONENT = 0.2


class Space(NamedTuple):
    """Configurations as rows of numbers `x` (N, D), with the types and families they share.

    `capacity` are the columns that say how much fits (memory, nodes). `expected` is the expected
    log time from specifications alone, up to a constant, and `doubt` scales how far from it jobs
    are believed to be: 1 where nothing better than specifications stands behind it.
    """

    x: Array
    kind: Array
    family: Array
    capacity: Array
    expected: Array
    doubt: Array

    @property
    def size(self) -> int:
        """How many configurations there are."""
        return len(self.x)

    def take(self, rows: Array) -> "Space":
        """The space of the configurations at `rows` (C,), unchanged in scale."""
        by_row = ("x", "kind", "family", "expected", "doubt")
        return self._replace(**{name: getattr(self, name)[rows] for name in by_row})


def encode(
    columns: Mapping[str, Sequence[float]],
    kinds: Sequence[str],
    expected: Sequence[float] | None = None,
    doubt: Sequence[float] | None = None,
) -> Space:
    """The space of configurations, given by columns: features by name, NaN where unknown.

    `kinds` are the machine types they are made of, empty where there is none. `expected` is what
    a data sheet lets expect of log times, NaN where it says nothing; None leaves that to the
    features. `doubt` is 1 for all unless given. Scales depend on all configurations, so encode past
    and present together.
    """
    found: list[Array] = []
    titles: list[str] = []
    for name in sorted(columns):
        for title, column, least in _columns(name, np.asarray(columns[name], dtype=float)):
            scaled = _standardised(column, least)
            if scaled is not None and not any(_same(scaled, other) for other in found):
                found.append(scaled)
                titles.append(title)
    x = np.column_stack(found) if found else np.zeros((len(kinds), 0))
    capacity = [i for i, t in enumerate(titles) if CAPACITY.search(t) and not RATE.search(t)]
    families = {kind: family(kind) for kind in set(kinds)}
    return Space(
        x=x,
        kind=_labels(kinds),
        family=_labels([families[kind] for kind in kinds]),
        capacity=np.array(capacity, dtype=int),
        expected=_from_features(columns, len(kinds)) if expected is None else _centred(expected),
        doubt=np.ones(len(kinds)) if doubt is None else np.asarray(doubt, dtype=float),
    )


def family(kind: str) -> str:
    """The machine type without its size: `c8a` of `c8a.medium`, `n2-standard` of `n2-standard-8`.

    Machines of one family share a processor.
    """
    if "." in kind:
        return kind.split(".", 1)[0]
    if kind.startswith("Standard_"):
        return re.sub(r"(?<=[A-Za-z])\d+", "", kind, count=1)
    return re.sub(r"-\d+\w*$", "", kind)


def _columns(name: str, raw: Array) -> list[tuple[str, Array, float]]:
    """What a feature is told apart by: titles, columns, and the least spread to take them for."""
    known = raw[np.isfinite(raw)]
    if not len(known) or known.min() < 0:
        return [(name, raw, 0.0)]
    if known.min() > 0:
        return [(name, np.log(raw), LEAST_SPREAD)]
    if known.max() <= 1:
        return [(name, raw, 0.0)]  # a flag or a share
    present = np.where(np.isfinite(raw), (raw > 0).astype(float), np.nan)
    logs = np.log(np.where(raw > 0, raw, known[known > 0].min()))
    return [
        (f"{name}?", present, 0.0),
        (name, np.where(np.isfinite(raw), logs, np.nan), LEAST_SPREAD),
    ]


def _standardised(column: Array, least: float = 0.0) -> Array | None:
    """(N,) with mean 0 and spread 1, the unknown at the mean; None for one that says nothing."""
    known = np.isfinite(column)
    if not known.any():
        return None
    spread = float(column[known].std())
    if spread < 1e-9 * max(1.0, float(np.abs(column[known]).max())):
        return None
    return np.where(known, (column - column[known].mean()) / max(spread, least), 0.0)


def _same(a: Array, b: Array) -> bool:
    return abs(float(a @ b)) > SAME_COLUMN * float(np.sqrt((a @ a) * (b @ b)))


def _labels(names: Sequence[str]) -> Array:
    """A number for each distinct name; the nameless are alike to nobody."""
    known = {name: number for number, name in enumerate(sorted(set(names)))}
    return np.array(
        [known[name] if name else -1 - place for place, name in enumerate(names)], dtype=int
    )


def _from_features(columns: Mapping[str, Sequence[float]], size: int) -> Array:
    expected = np.zeros(size)
    for name, exponent in (
        ("vcpus", COMPUTE_EXPONENT),
        ("gpus", COMPUTE_EXPONENT),
        ("price_per_hour_usd", PRICE_EXPONENT),
    ):
        values = np.asarray(columns.get(name, ()), dtype=float)
        if (values > 0).any():
            known = values > 0
            expected = np.where(known, -exponent * np.log(np.where(known, values, 1)), np.nan)
            break
    with_gpu = np.zeros(size, dtype=bool)
    for name, column in columns.items():
        if GPU.match(name):
            with_gpu |= np.asarray(column, dtype=float) > 0
    return _centred(expected - GPU_GAIN * with_gpu)


def _centred(values: Sequence[float] | Array) -> Array:
    """Around 0; the unknown is as expected on average."""
    given = np.asarray(values, dtype=float)
    known = np.isfinite(given)
    if not known.any():
        return np.zeros(len(given))
    middle = float(given[known].mean())
    return np.where(known, given, middle) - middle
