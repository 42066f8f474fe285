"""Searchers over the rows of a table: each configuration is tried once."""

from collections.abc import Mapping, Sequence
from random import Random

import numpy as np

from mlbroker.policies.tuning.interface import Searcher
from mlbroker.profiles.arrays import Array
from mlbroker.profiles.search_space import Choice, Point, Range, Space


class Untried:
    """At random, without coming back to one; hears nothing."""

    def __init__(self, configs: int, seed: str, left: set[int]) -> None:
        self._left = left
        self._order = list(range(configs))
        Random(seed).shuffle(self._order)

    def ask(self) -> int | None:
        """The next that nobody has taken."""
        while self._order:
            config = self._order.pop()
            if config in self._left:
                self._left.discard(config)
                return config
        return None

    def tell(self, point: int, best: Sequence[float]) -> None:
        """Nothing is learnt."""


class Grounds:
    """The configurations as points of a space.

    A column of numbers is measured by rank: the table's own density becomes even, and whether a
    scale is logarithmic is no question, as no change of scale changes a rank. Other columns are
    choices.
    """

    def __init__(self, values: Sequence[Mapping[str, str]]) -> None:
        space: dict[str, Range | Choice] = {}
        columns: dict[str, list[float] | list[str]] = {}
        for name in values[0]:
            written = [each[name] for each in values]
            if len(set(written)) == 1:
                continue
            numbers = _numbers(written)
            if numbers is None:
                space[name] = Choice(tuple(sorted(set(written))))
                columns[name] = written
            else:
                space[name] = Range(0.0, 1.0)
                columns[name] = _mid_ranks(numbers)
        self.space: Space = space
        names = list(space)
        self.points: list[Point] = [
            dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)
        ]
        self._ranks = np.array(
            [columns[name] for name in names if isinstance(space[name], Range)], dtype=float
        ).reshape(-1, len(values))
        self._words = {
            name: np.array(columns[name]) for name in names if isinstance(space[name], Choice)
        }

    def distance(self, point: Point) -> Array:
        """Squared, from each configuration; another word is as far as the ends of a range."""
        places = [point[name] for name, part in self.space.items() if isinstance(part, Range)]
        gaps = self._ranks - np.array(places, dtype=float).reshape(-1, 1)
        total = np.asarray((gaps * gaps).sum(axis=0), dtype=float)
        for name, words in self._words.items():
            total += words != point[name]
        return total


class Nearest:
    """The untried configuration next to what a searcher of points proposes."""

    def __init__(self, grounds: Grounds, searcher: Searcher[Point], left: set[int]) -> None:
        self._grounds, self._searcher, self._left = grounds, searcher, left

    def ask(self) -> int | None:
        """None where the searcher has come to its end, or the table."""
        if not self._left:
            return None
        wanted = self._searcher.ask()
        if wanted is None:
            return None
        left = np.array(sorted(self._left))
        config = int(left[self._grounds.distance(wanted)[left].argmin()])
        self._left.discard(config)
        return config

    def tell(self, point: int, best: Sequence[float]) -> None:
        """The searcher hears of the configuration that was tried, not of its own proposal."""
        self._searcher.tell(self._grounds.points[point], best)


def _numbers(written: Sequence[str]) -> list[float] | None:
    try:
        numbers = [float(text) for text in written]
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _mid_ranks(numbers: Sequence[float]) -> list[float]:
    """From 0 to 1, without the ends; equal numbers share the middle of theirs."""
    _, first, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    middles = (np.cumsum(counts) - counts / 2) / len(numbers)
    ranks: list[float] = middles[first].tolist()
    return ranks
