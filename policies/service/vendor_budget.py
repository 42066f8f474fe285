"""A vendor's budget: the same as running until broke, told half a day late."""

from collections import deque

from mlbroker.policies.service.interface import HOUR_MS, Period, Sight, Terms

# AWS updates its budgets every 8 to 12 hours.
LATE_MS = 12 * HOUR_MS


class VendorBudget:
    """Stops all once the spend that is seen has reached the cap."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._period: Period | None = None
        self._before = self._seen = 0
        self._metered: deque[tuple[int, int]] = deque()

    def ceiling(self, sight: Sight) -> int:
        """None once the budget has seen its limit."""
        terms, spent = self._terms, sight.spent or 0
        period = terms.period_of(sight.wall_ms)
        if period != self._period:
            self._period, self._before, self._seen = period, spent, 0
            self._metered.clear()
        self._metered.append((sight.wall_ms, spent - self._before))
        while self._metered and self._metered[0][0] <= sight.wall_ms - LATE_MS:
            self._seen = self._metered.popleft()[1]
        return 0 if self._seen >= terms.cap else terms.most
