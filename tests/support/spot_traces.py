"""Traces of spot availability, as bad as they come, and jobs on them."""

import random
from collections.abc import Sequence

import numpy as np

from mlbroker.policies.spot.interface import ON_DEMAND, WAIT, Terms, View
from mlbroker.policies.spot.replay import Trace

ON_DEMAND_USD = 2.0
PRICES_USD = (0.5, 1.5)


def trace(up: Sequence[Sequence[bool]], tick_h: float, price_usd: float = 0.5) -> Trace:
    """One row a tick; every other zone is in another region."""
    flags = np.array(up, bool)
    zones = tuple(f"zone-{number}" for number in range(flags.shape[1]))
    regions = tuple(f"region-{number % 2}" for number in range(flags.shape[1]))
    return Trace(zones, regions, tick_h, flags, np.full(flags.shape, price_usd))


def worst_traces(terms: Terms, zones: int) -> dict[str, Trace]:
    """Nothing there; all there; flicker; there until just when leaving hurts most."""
    ticks = int(np.ceil(terms.deadline_h / terms.tick_h)) + 2
    number = np.arange(ticks)[:, None] + np.zeros(zones, int)
    boot = max(1, int(np.ceil(terms.restart_h / terms.tick_h)))
    return {
        "nothing": trace(number < 0, terms.tick_h),
        "everything": trace(number >= 0, terms.tick_h),
        "flicker": trace(number % 2 == 0, terms.tick_h),
        "boots, and is gone": trace(number % (boot + 2) <= boot, terms.tick_h),
        "in turns": trace((number + np.arange(zones)) % 3 == 0, terms.tick_h),
        "gone near the end": trace(number < ticks * 3 // 5, terms.tick_h),
    }


class Erratic:
    """Asks for anything at any time; only the shells keep it from being late."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def decide(self, view: View) -> int:
        """Any place, spot twice as often as the others."""
        spot = list(range(len(view.zones)))
        return self.random.choice([WAIT, ON_DEMAND, view.on, *spot, *spot])
