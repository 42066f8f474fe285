"""Spot under a deadline: when to wait, to go, to fall back and to return.

A new policy is one file with a class and one entry here.
"""

from collections.abc import Callable

from mlbroker.policies.spot.auto import Auto
from mlbroker.policies.spot.greedy import Greedy
from mlbroker.policies.spot.interface import Policy
from mlbroker.policies.spot.on_demand import OnDemand
from mlbroker.policies.spot.programme import Solver
from mlbroker.policies.spot.uniform_progress import UniformProgress
from mlbroker.policies.spot.value_index import ValueIndex

POLICIES: dict[str, Callable[[], Policy]] = {
    "auto": Auto,
    "on-demand": OnDemand,
    "greedy": Greedy,
    "uniform-progress": UniformProgress,
    "value-index": ValueIndex,
}


def policy_named(name: str, solver: Solver) -> Policy:
    """One for one job; `auto` with a solver that may know programmes from before."""
    kind = POLICIES[name]
    return Auto(solver) if kind is Auto else kind()
