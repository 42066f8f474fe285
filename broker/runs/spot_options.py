"""The machines of a run whose spot quote falls back on demand, and what its policy is told."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from mlbroker.broker.ledger import Ledger
from mlbroker.broker.runs.order import LaunchOption, SpotTerms, ZoneRecord, zone_name
from mlbroker.policies.quote import Quote
from mlbroker.pricing.offer import Market

if TYPE_CHECKING:
    from mlbroker.policies.spot.hazards import Record

# Ending a machine in order comes before the next one: its last files travel, and it is seen gone.
LEAVING = timedelta(minutes=3)


def falling_back(spot: LaunchOption, quote: Quote) -> tuple[LaunchOption, ...]:
    """The spot machine of a quote and the one on demand behind it; the former alone where the
    quote knows of no other.
    """
    if quote.falls_back is None:
        return (spot,)
    price = quote.falls_back.on_demand_price_per_hour_usd
    on_demand = replace(
        spot,
        market=Market.ON_DEMAND.value,
        bill=replace(spot.bill, price_per_hour_usd=price),
        max_price_per_hour_usd=None,
    )
    return spot, on_demand


def in_order(options: Iterable[LaunchOption]) -> tuple[LaunchOption, ...]:
    """Of several regions: spot as it comes, and behind it on demand, where it is cheapest first."""

    def key(option: LaunchOption) -> tuple[bool, Decimal]:
        spot = option.market == Market.SPOT
        return not spot, Decimal(0) if spot else option.bill.usd_per_hour

    return tuple(sorted(options, key=key))


def spot_terms(
    options: Sequence[LaunchOption], quotes: Sequence[Quote], ledger: Ledger
) -> SpotTerms | None:
    """What the policy is told, what earlier runs saw of the zones included; None where the options
    do not let it fall back. `quotes` are of all regions, the plan's choice first.
    """
    told = [quote.falls_back for quote in quotes if quote.falls_back is not None]
    if not told or {option.market for option in options} != set(Market):
        return None
    terms = [each.terms for each in told]
    bands = {quote.region: each.interruption_rate for quote, each in zip(quotes, told, strict=True)}
    return SpotTerms(
        policy=told[0].policy,
        work_h=max(each.work_h for each in terms),
        restart_h=max(each.restart_h for each in terms) + LEAVING / timedelta(hours=1),
        tick_h=terms[0].tick_h,
        lost_h=terms[0].lost_h,
        zones=_believed(options, bands, ledger),
    )


def _believed(
    options: Sequence[LaunchOption], bands: Mapping[str, float | None], ledger: Ledger
) -> dict[str, ZoneRecord]:
    from mlbroker.broker.runs.spot_past import observations  # numpy: most runs have no policy
    from mlbroker.policies.spot.beliefs import Place, believe

    seen = observations(ledger)
    found = {}
    for option in options:
        if option.market == Market.SPOT:
            place = Place(option.cloud, option.region, option.zone, option.instance_type)
            belief = believe(seen, place, bands[option.region], option.gpu is not False)
            # Where one of several nodes is taken, all stop.
            taken = belief.preempted.times(option.nodes)
            found[zone_name(option)] = ZoneRecord(_pair(taken), _pair(belief.recovered))
    return found


def _pair(record: "Record") -> tuple[float, float]:
    return record.events, record.expected
