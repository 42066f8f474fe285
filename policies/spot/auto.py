"""The programme's policy: the place with the cheapest useful hour, when the programme says so."""

from mlbroker.policies.spot.hazards import age_class, expected_life_h, level
from mlbroker.policies.spot.interface import ON_DEMAND, WAIT, View
from mlbroker.policies.spot.programme import Move, Programme, Question, Solver, solve, upward
from mlbroker.policies.spot.rates import SPARE

PRICE_STEP = 0.05
# Work and deadline in steps of so much: what a later run asks was then most likely answered.
_HOURS_FACTOR = 1.05
# A machine that works is left for a cheaper one only where that pays for the move this often.
_MOVE_GAIN = 2.0


class Auto:
    """What is best to do now is looked up in the programme of the best zone's terms.

    `solver` may know programmes that were solved before, such as one that keeps them on disk.
    """

    def __init__(self, solver: Solver = solve) -> None:
        self._solve = solver

    def decide(self, view: View) -> int:
        """Stay, wait, or the place to go to."""
        places = {
            number: self._usd_per_useful_h(view, number)
            for number, zone in enumerate(view.zones)
            if zone.up
        }
        if view.on >= 0:
            return self._on_spot(view, places)
        best = min(places, key=places.__getitem__, default=WAIT)
        about = best if best != WAIT else self._soonest(view)
        programme = self._programme(view, about, spare=SPARE if len(places) > 1 else 0.0)
        layer, step = programme.cell(view.time_left_h, view.work_left_h)
        zone = view.zones[about]
        age = age_class(zone.since_h)
        idle = programme.idle_up if zone.up else programme.idle_down
        demand = programme.demand_up if zone.up else programme.demand_down
        move = (demand if view.on == ON_DEMAND else idle)[layer, age, step]
        if move == Move.RELEASE:  # to wait, or to go to spot: then with no time lost between
            move = idle[layer, age, step]
            return best if move == Move.SPOT else WAIT
        if move == Move.SPOT:
            return best
        return ON_DEMAND if move == Move.ON_DEMAND else view.on

    def _on_spot(self, view: View, places: dict[int, float]) -> int:
        here = places[view.on]
        best = min(places, key=places.__getitem__)
        if best != view.on:
            zone = view.zones[best]
            hours = min(view.work_left_h, expected_life_h(zone.since_h, zone.preempted.factor))
            if (here - places[best]) * hours > _MOVE_GAIN * here * view.terms.restart_h:
                return best
        programme = self._programme(view, view.on, spare=SPARE if len(places) > 1 else 0.0)
        layer, step = programme.cell(view.time_left_h, view.work_left_h)
        age = age_class(view.zones[view.on].since_h)
        return ON_DEMAND if programme.spot[layer, age, step] == Move.ON_DEMAND else view.on

    def _usd_per_useful_h(self, view: View, number: int) -> float:
        """Price, restart and move shared out over the hours that it is expected to live."""
        zone, terms = view.zones[number], view.terms
        life_h = expected_life_h(zone.since_h, zone.preempted.factor)
        hours = max(1e-3, min(view.work_left_h, life_h))
        boot_h, once_usd = (0.0, 0.0) if view.on == number else (terms.restart_h, zone.once_usd)
        moved = terms.egress_usd if view.region not in (None, zone.region) else 0.0
        return (zone.price_usd_per_h * (hours + boot_h) + once_usd + moved) / hours

    def _soonest(self, view: View) -> int:
        """The zone whose outage is taken to speak for all: the youngest."""
        return min(range(len(view.zones)), key=lambda number: view.zones[number].since_h)

    def _programme(self, view: View, number: int, spare: float) -> Programme:
        terms, zone = view.terms, view.zones[number]
        share = zone.price_usd_per_h / terms.on_demand_usd_per_h
        # The first zone that comes back ends the outage.
        recovery = sum(each.recovered.factor for each in view.zones)
        return self._solve(
            Question(
                work_h=upward(terms.work_h, _HOURS_FACTOR),
                deadline_h=upward(terms.deadline_h, _HOURS_FACTOR),
                restart_h=terms.restart_h,
                lost_h=terms.lost_h,
                price=max(PRICE_STEP, round(share / PRICE_STEP) * PRICE_STEP),
                preemption=level(zone.preempted.factor),
                recovery=level(recovery),
                spare=spare,
                overlaps=terms.overlaps,
            )
        )
