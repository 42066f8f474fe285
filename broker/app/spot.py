"""What is believed of a type's spot machines, place by place, as the document `--json` prints."""

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.prices import suggestion
from mlbroker.broker.app.sources import book_of, check_filters
from mlbroker.broker.errors import InputError
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.prices.price_book import PriceBook
from mlbroker.broker.prices.shortages import Shortage, lately
from mlbroker.broker.runs.spot_past import observations
from mlbroker.policies.candidates import Filters
from mlbroker.policies.spot.beliefs import Belief, Observation, Place, Tally, What, believe
from mlbroker.pricing.book import TypeEntry
from mlbroker.pricing.offer import Offer
from mlbroker.pricing.price_units import usd_from_nano

Document = dict[str, Any]
_DIGITS = 4


class _Sold(NamedTuple):
    """A region where the type is sold on spot, and what it costs there on demand."""

    offer: Offer
    on_demand_usd: Decimal | None


def show(
    name: str,
    state: Path,
    clouds: Collection[str] | None,
    regions: Collection[str] | None,
    listener: Listener,
    now: datetime,
) -> Document:
    """Where own machines were before, then the cheapest regions; zones where own ones were."""
    book = book_of(state, None, listener)
    types = [entry for entry in book.types() if entry.type.name == name]
    if not types:
        raise InputError(f"unknown machine type {name!r}", hint=suggestion(book, name))
    wanted = Filters.of(clouds, regions, None, None)
    check_filters(wanted, book)
    seen = [each for each in observations(open_ledger(state), now)
            if each.place.instance_type == name]  # fmt: skip
    short = [each for each in lately(state, now) if each.spot and each.instance_type == name]
    found = []
    for entry in types:
        sold = _sold(book, entry)
        for place in _places(entry, sold, seen):
            if (clouds and place.cloud not in clouds) or (regions and place.region not in regions):
                continue
            at = sold.get(place.region)
            band = None if at is None else at.offer.interruption_rate
            belief = believe(seen, place, band, entry.type.hardware.gpu is not None)
            found.append(_document(belief, at, _shortage(place, seen, short)))
    return {
        "schema": "mlbroker.spot/1",
        "generated_at": now.isoformat(timespec="seconds"),
        "prices": book.snapshot.id,
        "instance_type": name,
        "gpu": any(entry.type.hardware.gpu is not None for entry in types),
        "places": sorted(found, key=_known_first),
    }


def _sold(book: PriceBook, entry: TypeEntry) -> dict[str, _Sold]:
    on_demand = {
        row.region_id: usd_from_nano(row.nano_usd_per_hour) for row in book.prices_of(entry.id, 0)
    }
    offers = [
        (book.offer(entry.id, 1, row.region_id), on_demand.get(row.region_id))
        for row in book.prices_of(entry.id, 1)
    ]
    return {offer.region: _Sold(offer, usd) for offer, usd in offers}


def _places(entry: TypeEntry, sold: Collection[str], seen: Sequence[Observation]) -> list[Place]:
    """The regions, and the zones that own machines were in or asked for."""
    own = {each.place for each in seen if each.place.cloud == entry.type.cloud}
    regions = {*sold, *(place.region for place in own)}
    everywhere = {Place(entry.type.cloud, region, None, entry.type.name) for region in regions}
    return [*everywhere, *(own - everywhere)]


def _shortage(
    place: Place, seen: Sequence[Observation], short: Sequence[Shortage]
) -> datetime | None:
    """When a machine was asked for in vain there last."""
    times = [each.at for each in seen if each.what is What.OUTAGE and _within(each.place, place)]
    times += [
        each.at
        for each in short
        if _within(Place(each.cloud, each.region, each.zone, each.instance_type), place)
    ]
    return max(times, default=None)


def _within(place: Place, wider: Place) -> bool:
    return place[:2] == wider[:2] and wider.zone in (None, place.zone)


def _known_first(row: Document) -> tuple[Any, ...]:
    own = row["own"]
    usd = row["price_per_hour_usd"]
    return (
        not (own["here"]["machines"] or own["here"]["outages"] or row["last_shortage_at"]),
        usd is None,
        Decimal(usd or 0),
        row["cloud"],
        row["region"],
        row["zone"] or "",
    )


def _document(belief: Belief, sold: _Sold | None, shortage: datetime | None) -> Document:
    place, machines, outages = belief.place, belief.machines, belief.outages
    usd = None if sold is None else sold.offer.price_per_hour_usd
    full = None if sold is None else sold.on_demand_usd
    return {
        "cloud": place.cloud,
        "region": place.region,
        "zone": place.zone,
        "price_per_hour_usd": None if usd is None else str(usd),
        "price_as_of": None if sold is None else sold.offer.as_of.isoformat(),
        "price_stale": None if sold is None else sold.offer.stale,
        "on_demand_price_per_hour_usd": None if full is None else str(full),
        "share_of_on_demand": None if not full or usd is None else round(float(usd / full), 4),
        "interruption_rate": belief.band,
        "own": {
            "here": _own(machines.here, outages.here),
            "in_region": _own(machines.region, outages.region),
            "of_type": _own(machines.type, outages.type),
        },
        "last_shortage_at": None if shortage is None else shortage.isoformat(timespec="seconds"),
        "believed": {
            "life_h": _rounded(belief.life_h),
            "taken_within_1h": _rounded(belief.taken_within(1)),
            "taken_within_8h": _rounded(belief.taken_within(8)),
            "outage_h": _rounded(belief.outage_h),
            "published_factor": _rounded(belief.prior),
            "preemption_factor": _rounded(belief.preempted.factor),
            "recovery_factor": _rounded(belief.recovered.factor),
        },
    }


def _own(machines: Tally, outages: Tally) -> Document:
    return {
        "machines": machines.seen,
        "hours": _rounded(machines.hours),
        "taken": machines.events,
        "outages": outages.seen,
        "outage_hours": _rounded(outages.hours),
        "outages_ended": outages.events,
    }


def _rounded(number: float) -> float:
    """To the digits that matter."""
    return float(f"{number:.{_DIGITS}g}")
