"""Points drawn at random, evenly in the space's own scales."""

from collections.abc import Sequence
from random import Random as Lots

from mlbroker.profiles.search_space import Point, Space


class Random:
    """Hears nothing."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._lots = space, Lots(seed)

    def ask(self) -> Point:
        """The next point; there is always one."""
        return {name: part.at(self._lots.random()) for name, part in self._space.items()}

    def tell(self, point: Point, best: Sequence[float]) -> None:
        """Nothing is learnt."""
