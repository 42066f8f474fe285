"""What each stage of a pipeline may reserve of what is left of the one budget."""

from collections.abc import Mapping, Sequence
from decimal import ROUND_DOWN, Decimal
from typing import NamedTuple

from mlbroker.pricing.billing import MICRO_USD


class Need(NamedTuple):
    """What a stage has to be given: its planned worst case where its time is `known`, else what
    the shortest run there costs.
    """

    usd: Decimal
    known: bool


def shares(
    left_usd: Decimal, needs: Mapping[str, Need], ready: Sequence[str], *, at_work: bool
) -> dict[str, Decimal]:
    """What each stage that is to begin now may cost at most, in USD, in the order of `ready`.

    `needs` has all stages that have not begun; what the others of them need is left to them. What
    is beyond all needs goes to a stage of unknown time, which therefore begins alone: none is
    `at_work`, and no second one begins. Else those that begin share it by their needs. Where less
    is left than all need, each has as much less.
    """
    all_usd = sum((need.usd for need in needs.values()), Decimal(0))
    if left_usd < all_usd:
        least = left_usd / all_usd if left_usd > 0 else Decimal(0)
        return {name: _down(needs[name].usd * least) for name in ready}
    free_usd = left_usd - all_usd
    known = [name for name in ready if needs[name].known]
    unknown = [] if at_work else [name for name in ready if not needs[name].known][:1]
    known_usd = sum((needs[name].usd for name in known), Decimal(0))
    if unknown:
        found = {name: needs[name].usd for name in known}
        found[unknown[0]] = _down(needs[unknown[0]].usd + free_usd)
        return found
    return {n: _down(needs[n].usd * (1 + free_usd / known_usd)) for n in known} if known_usd else {}


def _down(usd: Decimal) -> Decimal:
    return usd.quantize(MICRO_USD, ROUND_DOWN)
