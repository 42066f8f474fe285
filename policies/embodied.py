"""Embodied carbon of a quote: what making its machines emitted, by the hours it takes of them."""

from mlbroker.policies.quote import Quote
from mlbroker.pricing.embodied import Servers


class Embodied:
    """Of quotes whose machines are types of one book. It has no say in what is chosen."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    def kgco2e_per_hour(self, quote: Quote) -> float | None:
        """Of all nodes; None where unknown."""
        one = self._servers.kgco2e_per_hour(quote.cloud, quote.instance_type)
        return None if one is None else one * quote.nodes

    def kgco2e(self, quote: Quote) -> float | None:
        """Of the run, over the hours that its energy is of, or where that is unknown its median.

        None where the machine or the duration is unknown.
        """
        hourly, hours = self.kgco2e_per_hour(quote), quote.duration_h
        if hourly is None or hours is None:
            return None
        if quote.energy_kwh is not None and quote.power_w:
            return hourly * quote.energy_kwh * 1000 / quote.power_w
        return hourly * hours.p50
