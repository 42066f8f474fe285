"""How often a spot machine is taken, as factors: published figures, and what own runs saw."""

from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from mlbroker.policies.spot.beliefs import Belief, Observation, Place, band_factor, believe
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


class OwnRuns:
    """What the user's own runs saw of spot machines, of whatever types."""

    def __init__(self, observations: Iterable[Observation] = ()) -> None:
        self._seen: dict[tuple[str, str], list[Observation]] = defaultdict(list)
        for each in observations:
            self._seen[each.place.cloud, each.place.instance_type].append(each)
        self._known: dict[tuple[Place, float | None], Belief] = {}

    def belief(self, place: Place, band: float | None, *, has_gpu: bool) -> Belief | None:
        """None where nothing was seen of the type: then the published share is all there is."""
        seen = self._seen.get((place.cloud, place.instance_type))
        if not seen:
            return None
        if (place, band) not in self._known:
            self._known[place, band] = believe(seen, place, band, has_gpu)
        return self._known[place, band]


@lru_cache(maxsize=1024)
def usual_rates(
    interruption_rate: float | None, *, has_gpu: bool, nodes: int, one_zone: bool
) -> Rates:
    """From the share of spot machines interrupted within a month (AWS Spot Advisor) or its lack."""
    factor = min(MOST, max(LEAST, band_factor(interruption_rate, has_gpu)))
    return _rates(min(MOST, factor * nodes), 1.0, one_zone)


def believed_rates(belief: Belief, *, nodes: int, one_zone: bool) -> Rates:
    """From what own runs saw, beside that share."""
    return _rates(belief.preempted.factor * nodes, belief.recovered.factor, one_zone)


def _rates(preempted: float, recovered: float, one_zone: bool) -> Rates:
    """One of several nodes being taken stops them all, and the first zone that comes back ends an
    outage.
    """
    zones = 1 if one_zone else _ZONES
    return Rates(level(preempted), level(recovered * zones), 0.0 if one_zone else SPARE)
