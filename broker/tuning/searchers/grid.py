"""A grid: every value, and five of each range, in an order that is drawn."""

from collections.abc import Sequence
from itertools import product
from random import Random

from mlbroker.profiles.search_space import Choice, Point, Range, Space, Value

OF_A_RANGE = 5
# A grid of many variables has no end: the rest of it is never reached.
MOST = 100_000


class Grid:
    """Hears nothing, and ends."""

    def __init__(self, space: Space, seed: int) -> None:
        columns = [_values(part) for part in space.values()]
        points: list[Point] = []
        for values in product(*columns):
            points.append(dict(zip(space, values, strict=True)))
            if len(points) == MOST:
                break
        Random(seed).shuffle(points)
        self._left = points

    def ask(self) -> Point | None:
        """The next point of the grid; None at its end."""
        return self._left.pop() if self._left else None

    def tell(self, point: Point, best: Sequence[float]) -> None:
        """Nothing is learnt."""


def _values(part: Range | Choice) -> Sequence[Value]:
    if isinstance(part, Choice):
        return part.values
    return list(dict.fromkeys(part.at(at / (OF_A_RANGE - 1)) for at in range(OF_A_RANGE)))
