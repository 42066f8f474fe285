"""How much carbon a grid's electricity carries, hour by hour: one zone's series, and its means."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np

from mlbroker.profiles.arrays import Array


class Signal(StrEnum):
    """What a series tells. Only series that tell the same are compared.

    Average: of all that feeds the grid; `direct` without, `life_cycle` with what plants and fuels
    emit elsewhere; plain where nobody says. Marginal: of the plant that answers one more kWh.
    """

    AVERAGE = "average"
    AVERAGE_DIRECT = "average_direct"
    AVERAGE_LIFE_CYCLE = "average_life_cycle"
    MARGINAL = "marginal"


@dataclass(frozen=True, eq=False)
class Intensity:
    """One grid zone's series, in kgCO2e per kWh.

    Each value holds from its `start_s` (seconds since 1970 UTC, rising) for `step_s`, or until the
    next one where that comes earlier. Where the next comes later there is a gap. `source` names the
    file; `zone` is None where it names none.
    """

    source: str
    zone: str | None
    signal: Signal
    start_s: Array
    kg_per_kwh: Array
    step_s: float

    @cached_property
    def _ends_s(self) -> Array:
        ends: Array = self.start_s + self.step_s
        ends[:-1] = np.minimum(ends[:-1], self.start_s[1:])
        return ends

    @cached_property
    def knots_s(self) -> Array:
        """The moments at which the series changes, rising: each value's start and end."""
        return np.column_stack([self.start_s, self._ends_s]).ravel()

    @cached_property
    def _sums(self) -> tuple[Array, Array]:
        """At each knot, the seconds covered so far, and the integral of the series over them."""
        lengths = self._ends_s - self.start_s
        both = []
        for amounts in (lengths, lengths * self.kg_per_kwh):
            parts = np.zeros(2 * len(amounts))
            parts[1::2] = amounts
            both.append(np.cumsum(parts))
        return both[0], both[1]

    def means(self, starts_s: Array, length_s: float) -> Array:
        """The mean over `length_s` from each start; NaN where that is not all covered."""
        covered, integral = (
            np.interp(starts_s + length_s, self.knots_s, sums)
            - np.interp(starts_s, self.knots_s, sums)
            for sums in self._sums
        )
        # A thousandth of a second of a window is lost to rounding, never a gap.
        return np.where(covered >= length_s - 1e-3, integral / length_s, np.nan)

    def covered_share(self, from_s: float, until_s: float) -> float:
        """How much of that time the series covers: 1 where all."""
        before, after = np.interp([from_s, until_s], self.knots_s, self._sums[0])
        return float((after - before) / (until_s - from_s))

    def least(self, earliest_s: float, latest_s: float, length_s: float) -> tuple[float, float]:
        """The start from `earliest_s` to `latest_s` with the least mean over `length_s`, and that
        mean; NaN twice where no window is all covered. Of equal ones the earliest.

        The mean is piecewise linear in the start, so it is least where the window begins or ends
        at a knot, or at either limit.
        """
        turns = np.concatenate([self.knots_s, self.knots_s - length_s])
        turns = turns[(turns > earliest_s) & (turns < latest_s)]
        starts = np.unique(np.concatenate([[earliest_s, latest_s], turns]))
        means = self.means(starts, length_s)
        if np.isnan(means).all():
            return np.nan, np.nan
        # What only rounding tells apart is equal.
        first = int(np.argmax(means <= np.nanmin(means) * (1 + 1e-9)))
        return float(starts[first]), float(means[first])
