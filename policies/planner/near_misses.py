"""Where nothing is feasible: the least change that would have let something in."""

import math
from collections.abc import Callable, Sequence
from decimal import ROUND_CEILING, Decimal
from typing import NamedTuple

from mlbroker.policies.choose import Chooser, Needs, Refusal
from mlbroker.policies.planner.plan import LeftOut, NearMiss
from mlbroker.pricing.billing import MICRO_USD
from mlbroker.pricing.offer import Market


class _Nearest(NamedTuple):
    """The refused machine that misses by least, and what it needs."""

    refusal: Refusal
    needs: Needs


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

    def nearest(miss: Callable[[Needs], float]) -> _Nearest | None:
        return _nearest(chooser, refusals, miss)

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
        deadline_with=_name(slow),
        deadline_market=_market(slow),
        budget_usd=(
            Decimal(dear.needs.budget_usd).quantize(MICRO_USD, ROUND_CEILING) if dear else None
        ),
        budget_with=_name(dear),
        budget_market=_market(dear),
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
        for row in chooser.prices(candidate):
            needs = chooser.needs(candidate, row)
            if needs is not None and (by := miss(needs)) < least:
                found, least = _Nearest(refusals[number], needs), by
    return found


def _name(nearest: _Nearest | None) -> str | None:
    return None if nearest is None else nearest.refusal.candidate.machine.type.name


def _market(nearest: _Nearest | None) -> Market | None:
    if nearest is None:
        return None
    return Market.SPOT if nearest.refusal.candidate.spot else Market.ON_DEMAND
