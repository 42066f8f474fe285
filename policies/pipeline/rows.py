"""Rows of a programme as HiGHS takes them, and what it makes of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

# Where there are so few choices, they are solved to the last digit, others to a gap.
SMALL = 250
_GAP = 4e-4
_LEAST_S = 0.05
Terms = dict[int, float]


class Found(NamedTuple):
    """The variables (those of the options come first, whole where solved as such), the value, and
    a bound that no choice is below. `done` is False where time ran out.
    """

    variables: list[float]
    value: float
    bound: float
    done: bool


class Rows:
    """A programme as the solver takes it: rows of terms between two numbers."""

    def __init__(
        self,
        rows: Sequence[tuple[Terms, float, float]],
        scores: Sequence[float],
        upper: Sequence[float],
    ) -> None:
        import numpy as np
        from scipy.sparse import csr_matrix

        data: list[float] = []
        columns: list[int] = []
        starts = [0]
        for terms, _, _ in rows:
            data += terms.values()
            columns += terms.keys()
            starts.append(len(columns))
        self._matrix = csr_matrix((data, columns, starts), shape=(len(rows), len(scores)))
        self._low = np.array([low for _, low, _ in rows])
        self._high = np.array([high for _, _, high in rows])
        self._upper = np.array(upper)
        # Scores of any size: to the solver the largest is one.
        self._unit = max(max(map(abs, scores)), 1e-12)
        self._scores = np.array(scores) / self._unit

    def milp(self, binaries: int, out: Sequence[int] | None, seconds: float) -> Found | None:
        """The first `binaries` variables whole, those that are `out` zero."""
        import numpy as np
        from scipy.optimize import Bounds, LinearConstraint, milp

        upper = self._upper.copy()
        upper[list(out or ())] = 0.0
        integrality = np.zeros(len(upper))
        integrality[:binaries] = 1
        result = milp(
            self._scores,
            integrality=integrality,
            bounds=Bounds(0, upper),
            constraints=LinearConstraint(self._matrix, self._low, self._high),
            options={
                "time_limit": max(seconds, _LEAST_S),
                "mip_rel_gap": 0.0 if binaries <= SMALL else _GAP,
            },
        )
        if result.x is None:
            return None
        value, bound = float(result.fun) * self._unit, result.get("mip_dual_bound")
        least = value if bound is None else float(bound) * self._unit
        return Found(result.x.tolist(), value, least, result.status == 0)

    def linear(self, seconds: float) -> "tuple[float, np.ndarray] | None":
        """The value with no variable whole, and by how much a unit of each would worsen it; None
        where there is none, or time ran out.
        """
        import numpy as np
        from scipy.optimize import linprog
        from scipy.sparse import vstack

        equal = self._low == self._high
        up = ~equal & np.isfinite(self._high)
        down = ~equal & np.isfinite(self._low)
        result = linprog(
            self._scores,
            A_ub=vstack([self._matrix[up], -self._matrix[down]]),
            b_ub=np.concatenate([self._high[up], -self._low[down]]),
            A_eq=self._matrix[equal],
            b_eq=self._low[equal],
            bounds=np.stack([np.zeros(len(self._upper)), self._upper], axis=1),
            method="highs",
            options={"time_limit": max(seconds, _LEAST_S)},
        )
        if result.status != 0:
            return None
        return float(result.fun) * self._unit, result.lower.marginals * self._unit
