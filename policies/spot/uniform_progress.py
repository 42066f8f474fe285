"""Uniform Progress: work no slower than evenly until the deadline.

Wu et al., "Can't Be Late: Optimizing Spot Instance Savings under Deadlines", NSDI 2024.
"""

from mlbroker.policies.spot.greedy import cheapest_up
from mlbroker.policies.spot.interface import ON_DEMAND, WAIT, View


class UniformProgress:
    """Behind the even pace it takes on demand, and keeps it until two restarts ahead."""

    def decide(self, view: View) -> int:
        """Spot where there is one; else on demand as long as the job is behind."""
        terms = view.terms
        even_h = terms.work_h * (1 - view.time_left_h / terms.deadline_h)
        ahead_h = terms.work_h - view.work_left_h - even_h
        if view.on >= 0:
            return view.on
        if view.on == ON_DEMAND and ahead_h < 2 * terms.restart_h:
            return ON_DEMAND
        spot = cheapest_up(view)
        if spot != WAIT:
            return spot
        return ON_DEMAND if ahead_h < 0 else WAIT
