"""Where nothing is feasible: the least change that would have let something in."""

import math
from collections.abc import Callable, Sequence
from decimal import ROUND_CEILING, Decimal
from functools import partial
from typing import NamedTuple

from mlbroker.policies.choose import Chooser
from mlbroker.policies.picks import Candidate, Needs, Refusal
from mlbroker.policies.planner.plan import LeftOut, NearMiss
from mlbroker.pricing.billing import MICRO_USD


class _Nearest(NamedTuple):
    """The refused machine that misses by least, and what it needs."""

    candidate: Candidate
    needs: Needs

    @property
    def name(self) -> str:
        """Its type."""
        return self.candidate.machine.type.name


def near_miss(
    chooser: Chooser, refusals: Sequence[Refusal], left_out: tuple[LeftOut, ...]
) -> NearMiss:
    """The least deadline beside the budget, the least budget beside the deadline, or both.

    Spot machines count, with the time that interruptions take.
    """
    deadline_s = chooser.constraints.deadline_s
    budget_usd = chooser.budget
    most_s = math.inf if deadline_s is None else deadline_s
    most_usd = math.inf if budget_usd is None else budget_usd

    nearest = partial(_nearest, chooser, refusals)
    slow = dear = None
    if deadline_s is not None:
        slow = nearest(lambda n: n.deadline_s if n.budget_usd <= most_usd else math.inf)
    if budget_usd is not None:
        dear = nearest(lambda n: n.budget_usd if n.deadline_s <= most_s else math.inf)
    together = not slow and not dear and deadline_s is not None and budget_usd is not None
    if together:
        # The one that misses both by least, as a factor.
        slow = dear = nearest(lambda n: max(n.deadline_s / most_s, n.budget_usd / most_usd))
    return NearMiss(
        deadline_s=slow.needs.deadline_s if slow else None,
        deadline_with=slow.name if slow else None,
        deadline_market=slow.candidate.market if slow else None,
        budget_usd=(
            Decimal(dear.needs.budget_usd).quantize(MICRO_USD, ROUND_CEILING) if dear else None
        ),
        budget_with=dear.name if dear else None,
        budget_market=dear.candidate.market if dear else None,
        together=together and dear is not None,
        left_out=left_out,
    )


def _nearest(
    chooser: Chooser, refusals: Sequence[Refusal], miss: Callable[[Needs], float]
) -> _Nearest | None:
    """The least miss over all prices of all machines, the most promising machine first."""
    floors = sorted(
        (miss(chooser.least_needs(refusal.candidate)), number)
        for number, refusal in enumerate(refusals)
    )
    found: _Nearest | None = None
    least = math.inf
    for floor, number in floors:
        if floor >= least:
            break
        candidate = refusals[number].candidate
        if chooser.forbidden_anywhere(candidate):
            continue
        for row in chooser.prices(candidate):
            needs = chooser.needs(candidate, row)
            if needs is not None and (by := miss(needs)) < least:
                found, least = _Nearest(candidate, needs), by
    return found
