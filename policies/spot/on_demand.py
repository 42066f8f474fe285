"""On demand from the beginning to the end."""

from mlbroker.policies.spot.interface import ON_DEMAND, View


class OnDemand:
    """What everybody pays who does not dare."""

    def decide(self, view: View) -> int:
        """On demand."""
        return ON_DEMAND
