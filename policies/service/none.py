"""No ceiling: the engine alone."""

from mlbroker.policies.service.interface import Sight, Terms


class NoCap:
    """As many as the engine may have anyhow."""

    def __init__(self, terms: Terms) -> None:
        self._most = terms.most

    def ceiling(self, sight: Sight) -> int:
        """Always the same."""
        return self._most
