"""The places of a run whose spot policy says which one comes next: zones, in regions of one cloud.

A checkpoint goes home with the end of each machine and up again with the next one, wherever that
is: another region can read it, and costs what a restart in place does.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.clouds.interface import Cloud
from mlbroker.broker.errors import CloudError, InputError, NothingFeasible
from mlbroker.broker.ledger import Ledger
from mlbroker.broker.runs.admission import admitted
from mlbroker.broker.runs.order import LaunchOption, SpotTerms, kind_of
from mlbroker.broker.runs.spot_options import falling_back, in_order, spot_terms
from mlbroker.broker.words import exact_usd
from mlbroker.policies.candidates import Filters
from mlbroker.policies.planner.plan import Plan
from mlbroker.policies.quote import Quote
from mlbroker.pricing.offer import Market
from mlbroker.profiles.job import Job

if TYPE_CHECKING:
    from mlbroker.policies.guardrails.judge import Judge

Planned = tuple[tuple[LaunchOption, ...], Plan]
# Beside the plan's own: each has some zones, all of which a policy may ask.
MOST_OTHERS = 3


class Offered(NamedTuple):
    """A region's spot machine that falls back on demand there."""

    option: LaunchOption
    quote: Quote


def placed(
    options: tuple[LaunchOption, ...],
    quote: Quote,
    judge: "Judge | None",
    ledger: Ledger,
    zoned: Callable[[Sequence[LaunchOption]], tuple[LaunchOption, ...]],
    others: Callable[[Offered], Iterable[Offered]],
) -> tuple[tuple[LaunchOption, ...], SpotTerms | None]:
    """The options zone by zone; under a spot policy those of the plan's choice and of its `others`
    alone, where they fall back on demand and the user's own policy lets them.
    """
    first = Offered(options[0], quote)
    if kind_of(first.option) == _kind(quote) and (found := _zones_of(first, judge, zoned)):
        quotes = [quote]
        for other in others(first):
            try:
                more = _zones_of(other, judge, zoned)
            except (CloudError, InputError):
                continue  # what one region does not have is had in the others
            found, quotes = found + more, quotes + [other.quote] * bool(more)
        found = in_order(found)
        spot = spot_terms(found, quotes, ledger)
        if spot is not None:
            return found, spot
    return zoned(options), None


def _zones_of(
    offered: Offered,
    judge: "Judge | None",
    zoned: Callable[[Sequence[LaunchOption]], tuple[LaunchOption, ...]],
) -> tuple[LaunchOption, ...]:
    """None where it does not fall back, or one of the two is forbidden, or in no zone."""
    pair = falling_back(offered.option, offered.quote)
    found = zoned(pair) if len(pair) > 1 and len(admitted(judge, pair)) > 1 else ()
    return found if {option.market for option in found} == set(Market) else ()


def other_regions(
    first: Offered,
    job: Job,
    wanted: Filters,
    again: Callable[[Filters], Planned],
    opened: Callable[[str], Cloud],
    listener: Listener,
) -> list[Offered]:
    """The same type where else mlbroker is set up in the cloud, the cheapest first."""
    option, wish = first.option, job.resources[first.quote.option]
    if wish.region is not None or wish.zone is not None:
        return []
    try:
        regions = opened(option.cloud).regions_set_up() - {option.region}
    except (CloudError, InputError):
        return []
    regions = regions & set(wanted.regions) if wanted.regions else regions
    if regions and job.data.checkpoint_gb is None:
        listener.note(
            f"Note: spot stays in {option.region}, as nobody said how large the checkpoint is: with"
            f" `data: {{checkpoint_gb: 2}}` under `broker:` also {', '.join(sorted(regions))}."
        )
        return []
    found: list[Offered] = []
    for region in sorted(regions):
        one = (option.cloud,), (region,), wanted.markets, (option.instance_type,)
        try:
            options, plan = again(Filters(*one))
        except NothingFeasible:
            continue
        # On demand may come first there, as spot is dearer than where the plan has it.
        by_kind = {kind_of(at): at for at in reversed(options)}
        falling = (quote for quote in plan.quotes if quote.falls_back is not None)
        spot = (Offered(by_kind[_kind(at)], at) for at in falling if _kind(at) in by_kind)
        found += islice(spot, 1)
    found = sorted(found, key=_expected_usd)[:MOST_OTHERS]
    if found:
        all_of = [first, *found]
        each = ", ".join(
            f"{exact_usd(at.quote.traffic_usd)} USD in {at.quote.region}" for at in all_of
        )
        listener.note(f"Spot in several regions. Traffic of each machine: {each}.")
    return found


def _kind(quote: Quote) -> tuple[str, str, str, str]:
    """As `kind_of` has an option's."""
    return quote.cloud, quote.region, quote.instance_type, quote.market.value


def _expected_usd(offered: Offered) -> float:
    cost = offered.quote.cost_usd
    assert cost is not None, "a quote that falls back has a cost"
    return float(cost.expected)
