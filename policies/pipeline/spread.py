"""The spread of a sum of stages' times (or costs), as linear as it can be made.

n stages, one option of each chosen: x_c in {0, 1}, of each stage one. The spread is
sqrt(sum of sd_c² x_c). With a stage's options in the order of their variance v_1 <= v_2 <= ..., and
y_k = 1 where the choice is the k-th or one behind it, the sum is v_1 + sum of (v_k - v_(k-1)) y_k.
The root of that is submodular in y, so its convex envelope is its Lovász extension: the y in
falling order, each times what the root grows by when it joins those before it (Edmonds 1970; for
mean-risk constraints Atamtürk and Narayanan 2008). It equals the spread at whole choices, and
between them it is above the norm of the mean standard deviations, which a cone would give.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Tangent(NamedTuple):
    """A linear function that is nowhere above the spread of a whole choice; `above`: nowhere below
    it.
    """

    terms: dict[int, float]
    constant: float
    above: bool = False

    def at(self, values: Sequence[float]) -> float:
        """Its value, with a value for every variable."""
        return self.constant + sum(each * values[column] for column, each in self.terms.items())


def tangent_above(stages: Sequence[dict[int, float]], values: Sequence[float]) -> Tangent:
    """That of the root, which is concave in the variance, at `values`."""
    squares = {column: sd * sd for sds in stages for column, sd in sds.items()}
    variance = sum(square * max(values[column], 0.0) for column, square in squares.items())
    root = math.sqrt(max(variance, 1e-12))
    return Tangent({c: square / (2 * root) for c, square in squares.items()}, root / 2, above=True)


def tangent(stages: Sequence[dict[int, float]], values: Sequence[float]) -> Tangent:
    """That of the envelope at `values`; of each stage the columns of its options with their sd."""
    steps: list[tuple[float, float, int, int]] = []
    orders = []
    variance = 0.0
    for stage, sds in enumerate(stages):
        order = sorted(sds, key=sds.__getitem__)
        orders.append(order)
        variance += sds[order[0]] ** 2
        # Summed from the end, so that no y is above one before it.
        behind = 0.0
        for rank in range(len(order) - 1, 0, -1):
            behind += max(values[order[rank]], 0.0)
            rise = sds[order[rank]] ** 2 - sds[order[rank - 1]] ** 2
            steps.append((-behind, rise, stage, rank))
    steps.sort(key=lambda step: (step[0], step[2], step[3]))
    constant = math.sqrt(variance)
    grows = [[0.0] * len(order) for order in orders]
    for _, rise, stage, rank in steps:
        grows[stage][rank] = math.sqrt(variance + rise) - math.sqrt(variance)
        variance += rise
    terms: dict[int, float] = {}
    for order, growth in zip(orders, grows, strict=True):
        total = 0.0
        for column, each in zip(order, growth, strict=True):
            total += each
            if total:
                terms[column] = total
    return Tangent(terms, constant)
