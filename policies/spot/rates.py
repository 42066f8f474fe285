"""How often a spot machine is taken where nobody has watched it: published figures as factors."""

from functools import lru_cache
from typing import NamedTuple

from mlbroker.policies.spot.beliefs import band_factor
from mlbroker.policies.spot.hazards import level

# One region's figure for a month says little of one machine on one day: no further than this.
LEAST, MOST = 0.1, 4.0
# Regions have three zones as a rule, and a type is not sold in all of them.
_ZONES = 2
# Zones fail together more often than not at all.
SPARE = 0.7


class Rates(NamedTuple):
    """Factors on the programme's rates, at the levels that it is solved for, and the chance that
    another zone has a machine.
    """

    preemption: float
    recovery: float
    spare: float


@lru_cache(maxsize=1024)
def usual_rates(
    interruption_rate: float | None, *, has_gpu: bool, nodes: int, one_zone: bool
) -> Rates:
    """From the share of spot machines interrupted within a month (AWS Spot Advisor) or its lack.

    One of several nodes being taken stops them all, and the first zone that comes back ends an
    outage.
    """
    factor = min(MOST, max(LEAST, band_factor(interruption_rate, has_gpu)))
    zones = 1 if one_zone else _ZONES
    preemption = min(MOST, factor * nodes)
    return Rates(level(preemption), level(zones), 0.0 if one_zone else SPARE)
