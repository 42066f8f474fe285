"""Spot whenever there is one, and on demand from the last safe moment on."""

from mlbroker.policies.spot.interface import WAIT, View


def cheapest_up(view: View) -> int:
    """The zone with the cheapest machine now, below on demand; `WAIT` without any."""
    prices = [
        (zone.price_usd_per_h, number)
        for number, zone in enumerate(view.zones)
        if zone.up and zone.price_usd_per_h < view.terms.on_demand_usd_per_h
    ]
    return min(prices)[1] if prices else WAIT


class Greedy:
    """The shell brings it to on demand when it has to; there it stays."""

    def decide(self, view: View) -> int:
        """Stay; else spot where there is one; else wait."""
        return view.on if view.on != WAIT else cheapest_up(view)
