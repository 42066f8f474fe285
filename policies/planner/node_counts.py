"""How many machines a job runs on, where it leaves that to the plan: a plan for each number."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mlbroker.policies.objective import quote_key
from mlbroker.policies.planner.plan import Plan, PlanRequest
from mlbroker.policies.planner.planner import Planner


class AtCount(NamedTuple):
    """The best that so many machines do. A time that is not known is no offer."""

    nodes: int
    plan: Plan

    @property
    def offers(self) -> bool:
        """Whether it is known to do."""
        return self.plan.known and self.plan.choice is not None


def at_counts(planner: Planner, requests: Iterable[PlanRequest]) -> list[AtCount]:
    """One for each request, whose jobs differ by how many nodes they have."""
    plans = [
        planner.plan(request._replace(top=1, explain=False, advise=False)) for request in requests
    ]
    return [AtCount(plan.job.num_nodes, plan) for plan in plans]


def best_count(counts: Sequence[AtCount], own: int) -> int:
    """The number of the best offer, the fewest of equals; `own` where there is none."""
    best, key = own, None
    for count in counts:
        choice = count.plan.choice
        if choice is None or not count.offers:
            continue
        here = quote_key(count.plan.constraints.objective, choice)
        if key is None or here < key:
            best, key = count.nodes, here
    return best
