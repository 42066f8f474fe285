"""What people ask of the price book: its dates, one type everywhere, all of it, what is odd."""

import os
import platform
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from mlbroker.broker.prices.price_book import PriceBook
from mlbroker.broker.prices.records import COLUMNS
from mlbroker.pricing.offer import Market, Offer
from mlbroker.pricing.price_units import usd_from_nano

# Firmware and kernel keep some memory to themselves: a 16 GiB machine shows less.
MEMORY_SHOWN = 0.9


class Part(NamedTuple):
    """The offers of one cloud and market from one source and day."""

    cloud: str
    market: str
    source: str
    as_of: date
    offers: int
    stale: bool


class Odd(NamedTuple):
    """A price that is not offered, with the range in which it would have been believed."""

    price: Offer
    lowest_usd: Decimal
    highest_usd: Decimal


_PRICE = """
SELECT type.cloud, region.name, type.name, spot, {price}, o.day, {source}, {stale}
FROM {table} o JOIN type ON type.id = type_id JOIN region ON region.id = region_id
JOIN source ON source.id = o.source_id
"""
_OFFERS = _PRICE.format(
    table="offer",
    price="price_nano_usd",
    source="source.name || coalesce(', ' || term, '')",
    stale="fresh_day",
)
# As the vendors list them: what is exported can come back without a discount on a discount.
_LISTED = _PRICE.format(
    table="offer",
    price="coalesce(list_nano_usd, price_nano_usd)",
    source="source.name",
    stale="fresh_day",
)


def prices(book: PriceBook, name: str | None = None) -> Iterator[Offer]:
    """Every list price, or the prices of the types of that name, cheapest of each market first."""
    if name is None:
        cursor = book.connection.execute(_LISTED + "ORDER BY o.region_id, type_id, spot")
    else:
        condition = "WHERE type.name = ? ORDER BY type.cloud, spot, price_nano_usd, region.name"
        cursor = book.connection.execute(_OFFERS + condition, (name,))
    for *facts, fresh_day in cursor:
        yield _price(facts, fresh_day < book.fresh_from)


def list_prices(book: PriceBook, name: str) -> dict[tuple[str, str, str], Decimal]:
    """(cloud, region, market) -> the list price, where the user's own terms make another."""
    return {
        (cloud, region, "spot" if spot else "on_demand"): usd_from_nano(listed)
        for cloud, region, spot, listed in book.connection.execute(
            "SELECT type.cloud, region.name, spot, list_nano_usd FROM offer"
            " JOIN type ON type.id = type_id JOIN region ON region.id = region_id"
            " WHERE type.name = ? AND list_nano_usd IS NOT NULL",
            (name,),
        )
    }


def parts(book: PriceBook) -> list[Part]:
    """Where the offers come from, how many and how old."""
    rows = book.connection.execute(
        "SELECT cloud, spot, source.name, day, offers, fresh_day FROM summary"
        " JOIN source ON source.id = source_id ORDER BY cloud, spot, day DESC, source.name"
    )
    return [
        Part(
            cloud,
            "spot" if spot else "on_demand",
            source,
            date.fromordinal(day),
            offers,
            fresh_day < book.fresh_from,
        )
        for cloud, spot, source, day, offers, fresh_day in rows
    ]


def odd_prices(book: PriceBook) -> list[Odd]:
    """The prices that are too odd to be offered."""
    query = _PRICE.format(
        table="quarantine",
        price="price_nano_usd",
        source="source.name",
        stale="lowest_nano_usd, highest_nano_usd",
    )
    return [
        Odd(_price(facts, False), usd_from_nano(low), usd_from_nano(high))
        for *facts, low, high in book.connection.execute(query)
    ]


def _price(facts: list[Any], stale: bool) -> Offer:
    cloud, region, name, spot, price, day, source = facts
    market = Market.SPOT if spot else Market.ON_DEMAND
    return Offer(
        cloud, region, name, market, usd_from_nano(price), date.fromordinal(day), source, stale
    )


def price_document(price: Offer) -> dict[str, Any]:
    """The columns of a price as JSON holds them: money and dates as text."""
    return {name: getattr(price, name) for name in COLUMNS} | {
        "price_per_hour_usd": str(price.price_per_hour_usd),
        "as_of": price.as_of.isoformat(),
    }


def lifecycles(book: PriceBook, name: str) -> dict[str, tuple[str, str, date]]:
    """Cloud -> lifecycle of its type of that name, and source and date of its description."""
    return {
        cloud: (lifecycle, source, date.fromordinal(day))
        for cloud, lifecycle, source, day in book.connection.execute(
            "SELECT cloud, lifecycle, source.name, day FROM type"
            " JOIN source ON source.id = source_id WHERE type.name = ?",
            (name,),
        )
    }


def type_names(book: PriceBook) -> list[str]:
    """The names of all types, for suggestions."""
    return [name for (name,) in book.connection.execute("SELECT DISTINCT name FROM type")]


def like_this_machine(book: PriceBook) -> Offer | None:
    """The cheapest machine on sale, on demand, with as many vCPUs and as much memory as this one.

    None when nothing that large is on sale.
    """
    import psutil

    arch = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
    vcpus = os.cpu_count() or 1
    memory_gib = psutil.virtual_memory().total / 2**30 * MEMORY_SHOWN
    fitting = {
        number
        for number, _, kind in book.types()
        if kind.hardware.vcpus >= vcpus
        and kind.hardware.memory_gib >= memory_gib
        and kind.hardware.arch == arch
        and not kind.retired
        and not kind.hardware.burstable
    }
    rows = [row for row in book.price_rows(depth=1) if not row.spot and row.type_id in fitting]
    if not rows:
        return None
    cheapest = min(rows, key=lambda row: row.nano_usd_per_hour)
    return book.offer(cheapest.type_id, cheapest.spot, cheapest.region_id)
