"""A value index: the place where an hour's work is worth most above its price.

After SkyNomad (NSDI 2027): what an hour of work is worth grows with the pressure of the deadline,
and a place earns it for as long as its machine is expected to live.
"""

from mlbroker.policies.spot.hazards import expected_life_h
from mlbroker.policies.spot.interface import ON_DEMAND, WAIT, View


class ValueIndex:
    """Every place has an index; the highest is taken, and waiting has the index nought."""

    def decide(self, view: View) -> int:
        """The place with the highest index; on demand stays while behind."""
        terms = view.terms
        pressure = (view.work_left_h / view.time_left_h) / (terms.work_h / terms.deadline_h)
        worth = terms.on_demand_usd_per_h * min(2.0, pressure)
        best, place = 0.0, WAIT
        for number, zone in enumerate(view.zones):
            if not zone.up:
                continue
            life_h = min(view.work_left_h, expected_life_h(zone.since_h, zone.preempted.factor))
            boots = view.on != number
            moved = terms.egress_usd if view.region not in (None, zone.region) else 0.0
            once_usd = boots * zone.once_usd + moved
            paid = zone.price_usd_per_h * (life_h + boots * terms.restart_h) + once_usd
            index = (worth * life_h - paid) / (life_h + boots * terms.restart_h)
            if index > best:
                best, place = index, number
        boots = view.on != ON_DEMAND
        share = view.work_left_h / (view.work_left_h + boots * terms.restart_h)
        if worth * share - terms.on_demand_usd_per_h > best:
            place = ON_DEMAND
        return place
