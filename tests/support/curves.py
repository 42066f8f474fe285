"""Learning curves that are made up: rising to a plateau, some of them slow starters."""

import math
from collections.abc import Sequence
from random import Random

from mlbroker.policies.tuning.replay import Curves


def curves(
    seed: int, configs: int = 120, steps: int = 27, task: str = "a", mislead: float = 0.0
) -> Curves:
    """Plateaus from 0 to 1; with `mislead` those of the good ones start slowly."""
    lots = Random(seed)
    scores = []
    for _ in range(configs):
        best = lots.random()
        slow = 1 + 6 * (best if lots.random() < mislead else lots.random() * 0.2)
        scores.append([best * (1 - math.exp(-step / slow)) for step in range(1, steps + 1)])
    names = tuple(f"c{number}" for number in range(configs))
    return Curves(task, names, scores, [lots.uniform(1, 3) for _ in range(configs)])


class InOrder:
    """A searcher that tries the configurations as they stand, and keeps what it is told."""

    def __init__(self, order: Sequence[int]) -> None:
        self.left = list(order)
        self.told: list[tuple[int, int, float]] = []

    def ask(self) -> int | None:
        """The next."""
        return self.left.pop(0) if self.left else None

    def tell(self, point: int, best: Sequence[float]) -> None:
        """Kept, with the step that it reached."""
        self.told.append((point, len(best), best[-1]))
