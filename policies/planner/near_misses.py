"""Where nothing is feasible: the least change that would have let something in."""

from decimal import ROUND_CEILING, Decimal
from operator import itemgetter

from mlbroker.policies.choose import Chooser, Refusal, Selection
from mlbroker.policies.planner.plan import NearMiss
from mlbroker.pricing.billing import MICRO_USD


def near_miss(chooser: Chooser, selection: Selection) -> NearMiss:
    """The least deadline, and the least budget, that would have let a machine that stays in."""
    budget, deadline_s = chooser.budget, chooser.constraints.deadline_s
    near = [
        (refusal, usd)
        for refusal in selection.refusals
        if not refusal.candidate.spot and (refusal.needs_s or refusal.needs_usd)
        if (usd := chooser.needed_usd(refusal)) is not None
    ]
    # What is too slow was not held to the budget yet; what is too dear is in time.
    slow = [(r, r.needs_s) for r, usd in near if r.needs_s and (budget is None or usd <= budget)]
    dear = [(r, usd) for r, usd in near if r.needs_usd]
    together = bool(near) and not slow and not dear
    if together:
        assert budget is not None
        assert deadline_s is not None
        # The one that misses both by least, as a factor.
        misses = [(max((r.needs_s or 0) / deadline_s, usd / budget), r, usd) for r, usd in near]
        _, best, usd = min(misses, key=itemgetter(0))
        slow, dear = [(best, best.needs_s or 0)], [(best, usd)]
    fastest = min(slow, key=itemgetter(1), default=None)
    cheapest = min(dear, key=itemgetter(1), default=None)
    return NearMiss(
        deadline_s=fastest[1] if fastest else None,
        deadline_with=_name(fastest[0]) if fastest else None,
        budget_usd=Decimal(cheapest[1]).quantize(MICRO_USD, ROUND_CEILING) if cheapest else None,
        budget_with=_name(cheapest[0]) if cheapest else None,
        together=together,
    )


def _name(refusal: Refusal) -> str:
    return refusal.candidate.machine.type.name
