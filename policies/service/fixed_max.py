"""A fixed maximum: as many replicas as may run from the beginning of a period to its end."""

from mlbroker.policies.service.ceiling import safe_ceiling
from mlbroker.policies.service.interface import Sight, Terms


class FixedMax:
    """The safe ceiling, which no load can break and no quiet night raises."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms

    def ceiling(self, sight: Sight) -> int:
        """The same through a period."""
        start_ms, _ = self._terms.period_of(sight.wall_ms)
        return safe_ceiling(self._terms, 0, start_ms)
