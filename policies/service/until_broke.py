"""Without a ceiling until the money is spent, then nothing until the next period."""

from mlbroker.policies.service.interface import Period, Sight, Terms


class UntilBroke:
    """Stops all at the last look before the cap is passed."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._period: Period | None = None
        self._before = 0
        self._broke = False

    def ceiling(self, sight: Sight) -> int:
        """None once broke."""
        terms, spent = self._terms, sight.spent or 0
        period = terms.period_of(sight.wall_ms)
        if period != self._period:
            self._period, self._before, self._broke = period, spent, False
        left = terms.cap - (spent - self._before)
        most = left // (terms.nano_usd_per_h * terms.lease_ms)
        self._broke = self._broke or most < max(sight.wanted, 1)
        return 0 if self._broke else terms.most
