"""What a policy for a service's ceiling sees, and what it answers.

Money is exact: whole numbers of *units*, of which one is a billionth of a dollar an hour for one
millisecond. Moments and spans in `_ms` are whole milliseconds.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple, Protocol

HOUR_MS = 3_600_000
UNITS_PER_USD = 10**9 * HOUR_MS
# More than any engine runs: no ceiling.
UNBOUNDED = 10**9


class Period(NamedTuple):
    """What a budget is for: the milliseconds from `start_ms` until before `end_ms`."""

    start_ms: int
    end_ms: int


class Terms(NamedTuple):
    """A service under a budget.

    One replica costs `nano_usd_per_h`; the engine never goes below `least` by itself, nor above
    `most`. `cap` units may be spent in each period, which `period_of` tells of a moment.
    A ceiling holds for `lease_ms`: until it is renewed, what runs above it is stopped, and what
    was started is paid for at least. After that the engine holds by itself what nobody need renew
    (see `Purse.safe`). Where a ceiling is lowered, it is obeyed within `slack_ms`, which is part of
    the lease; looks are no further apart than the rest of it.
    """

    nano_usd_per_h: int
    cap: int
    period_of: Callable[[int], Period]
    least: int = 1
    most: int = UNBOUNDED
    lease_ms: int = 300_000
    slack_ms: int = 0

    def least_cap(self, period: Period) -> int:
        """What the fewest replicas cost in a period: nobody keeps a smaller cap and stays up."""
        return self.least * self.nano_usd_per_h * (period.end_ms - period.start_ms)


class Sight(NamedTuple):
    """The service at one moment.

    `wall_ms` is what the clock of the day says, since 1970 in UTC, and `steady_ms` a clock that
    nobody sets. `requests_per_s` came since the last look, those turned away included; they
    need `needed` replicas. `wanted` is how many the engine would have without a ceiling, after
    its delays, and `running` how many are paid for. `spent` units were metered since the first
    look. None: nobody knows.
    """

    wall_ms: int
    steady_ms: int
    requests_per_s: float
    needed: int
    wanted: int
    running: int | None
    spent: int | None


class Policy(Protocol):
    """How many replicas the engine may have at most until the next look."""

    def ceiling(self, sight: Sight) -> int:
        """Called in the order of time."""
        ...


def nano_usd(usd: Decimal) -> int:
    """Billionths of a dollar, rounded up: a price is never taken for less than it is."""
    return -int(-usd.scaleb(9) // 1)


def usd(units: int) -> Decimal:
    """Units in dollars."""
    return Decimal(units) / UNITS_PER_USD
