"""Reports on the price book. Each is the document that `--json` prints; a table shows parts of it.

Money and dates in it are text.
"""

from collections.abc import Collection
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.sources import book_of
from mlbroker.broker.errors import CloudError, InputError
from mlbroker.broker.files.yaml_fields import nearest
from mlbroker.broker.prices import browse
from mlbroker.broker.prices.own_prices import Jump, OwnPrices, Past
from mlbroker.broker.prices.price_book import PriceBook, open_book
from mlbroker.broker.prices.refresh import Progress, refresh
from mlbroker.pricing.price_units import usd_from_nano

Document = dict[str, Any]


def status(state: Path, prices: Path | None, listener: Listener) -> Document:
    """Dates, counts and age of the prices, by cloud and source."""
    from mlbroker.broker.prices import embedded

    book = book_of(state, prices, listener)
    snapshot = book.snapshot
    with OwnPrices(state / "prices") as own:
        refreshes = own.refreshes() if prices is None else []
    return {
        "schema": "mlbroker.prices.status/1",
        "snapshot": snapshot.id,
        "origin": book.origin,
        "embedded_built": embedded.description().built,
        "offers": snapshot.offers,
        "stale_offers": snapshot.stale_offers,
        "as_of": {cloud: day.isoformat() for cloud, day in snapshot.as_of.items()},
        "oldest": {cloud: day.isoformat() for cloud, day in snapshot.oldest.items()},
        "quarantined": len(browse.odd_prices(book)),
        "refreshed": [entry._asdict() for entry in refreshes],
        "parts": [
            part._asdict() | {"as_of": part.as_of.isoformat()} for part in browse.parts(book)
        ],
    }


def machine_type(name: str, state: Path, prices: Path | None, listener: Listener) -> Document:
    """A type's hardware, its prices in every region and market, and what it cost before."""
    book = book_of(state, prices, listener)
    types = [entry for _, _, entry in book.types() if entry.name == name]
    if not types:
        raise InputError(f"unknown machine type {name!r}", hint=suggestion(book, name))
    described = browse.lifecycles(book, name)
    listed = browse.list_prices(book, name)
    with OwnPrices(state / "prices") as own:
        past = own.past(name)
    rows = []
    for row in browse.prices(book, name):
        rows.append(browse.price_document(row))
        if (usd := listed.get((row.cloud, row.region, row.market))) is not None:
            rows[-1]["list_price_per_hour_usd"] = str(usd)
    return {
        "schema": "mlbroker.prices.show/1",
        "types": [
            {**plain(entry), "lifecycle": lifecycle, "source": source, "as_of": day.isoformat()}
            for entry in types
            for lifecycle, source, day in [described[entry.cloud]]
        ],
        "prices": rows,
        "history": [_dated(entry) for entry in past],
    }


def regions(state: Path, prices: Path | None, listener: Listener) -> Document:
    """Their grid's carbon, and what disk and traffic cost."""
    listed = []
    found = book_of(state, prices, listener).regions().values()
    for region in sorted(found, key=lambda region: (region.cloud, region.name)):
        facts = {k: str(v) if isinstance(v, Decimal) else v for k, v in region._asdict().items()}
        # The grid's under the name that a quote gives it.
        facts["region"] = facts.pop("name")
        facts["grid_intensity_kgco2e_per_kwh"] = facts.pop("grid_kgco2e_per_kwh")
        listed.append(facts)
    return {"schema": "mlbroker.prices.regions/1", "regions": listed}


def odd_prices(state: Path, prices: Path | None) -> Document:
    """Prices that are not offered because they cannot be right."""
    book = open_book(state, prices)
    with OwnPrices(state / "prices") as own:
        jumps = own.jumps() if prices is None else []
    return {
        "schema": "mlbroker.prices.verify/1",
        "snapshot": book.snapshot.id,
        "offers": book.snapshot.offers,
        "notices": book.notices,
        "quarantined": [
            browse.price_document(entry.price)
            | {
                "lowest_believable_usd": str(entry.lowest_usd),
                "highest_believable_usd": str(entry.highest_usd),
            }
            for entry in browse.odd_prices(book)
        ],
        "jumped": [
            _dated(jump)
            | {
                "instance_type": jump.instance_type,
                "last_price_per_hour_usd": str(usd_from_nano(jump.before_nano_usd)),
            }
            for jump in jumps
        ],
    }


def refreshed(
    state: Path,
    clouds: Collection[str] | None,
    regions: Collection[str] | None,
    instance_types: Collection[str] | None,
    progress: Progress,
    *,
    accept: bool,
) -> Document:
    """Fetch today's prices from the vendors; those that failed, and why, are in the document."""
    from mlbroker.broker.prices.feeds import FEEDS
    from mlbroker.broker.prices.feeds.interface import Scope

    names = list(dict.fromkeys(clouds or FEEDS))
    for name in names:
        if name not in FEEDS:
            raise InputError(f"--cloud {name!r} has no price feed", hint=f"{', '.join(FEEDS)}")
    scope = Scope(frozenset(regions or ()), frozenset(instance_types or ()))
    feeds = [FEEDS[name]() for name in names]
    report = refresh(state, feeds, scope, datetime.now(UTC), progress=progress, accept=accept)
    return {
        "schema": "mlbroker.prices.refresh/1",
        "snapshot": open_book(state).snapshot.id,
        "refreshed": [
            {
                "cloud": outcome.cloud,
                "prices": outcome.prices,
                "withdrawn": outcome.withdrawn,
                "without_honest_price": outcome.dishonest,
                "jumped": outcome.jumped,
            }
            for outcome in report.outcomes
        ],
        "failed": {cloud: str(error) for cloud, error in report.failures.items()},
    }


def refresh_quotas(
    state: Path,
    clouds: Collection[str] | None,
    regions: Collection[str] | None,
    listener: Listener,
) -> None:
    """Fetch the quotas of some clouds and regions; a cloud that fails keeps its old ones."""
    from mlbroker.broker.http import Http
    from mlbroker.broker.prices.feeds import quota_feeds
    from mlbroker.broker.prices.quotas import save

    failures, feeds, book = [], quota_feeds(), open_book(state)
    for name in dict.fromkeys(clouds or feeds):
        if name not in feeds:
            raise InputError(f"--cloud {name!r} has no quotas", hint=", ".join(feeds))
        known = {region.name for region in book.regions().values() if region.cloud == name}
        wanted = known & set(regions) if regions else known
        try:
            found = feeds[name].quotas(wanted, Http())
        except CloudError as error:
            failures.append(str(error))
            continue
        save(state, name, found, datetime.now(UTC))
        listener.note(f"{name}: {len(found):,} quotas")
    if failures:
        raise CloudError("\n".join(failures))


def quotas(
    state: Path, clouds: Collection[str] | None, regions: Collection[str] | None
) -> Document:
    """What the account may have, and where capacity was short lately: what plans heed."""
    from mlbroker.broker.prices.quotas import load
    from mlbroker.broker.prices.shortages import lately

    def wanted(cloud: str, region: str) -> bool:
        return (not clouds or cloud in clouds) and (not regions or region in regions)

    known = load(state)
    return {
        "schema": "mlbroker.prices.quotas/1",
        "as_of": known.as_of,
        "quotas": [each._asdict() for each in known.all if wanted(each.cloud, each.region)],
        "shortages": [
            short._asdict() | {"at": short.at.isoformat(timespec="seconds")}
            for short in lately(state, datetime.now(UTC))
            if wanted(short.cloud, short.region)
        ],
    }


def _dated(entry: Past | Jump) -> Document:
    """A price of one day."""
    return {
        "cloud": entry.cloud,
        "region": entry.region,
        "market": "spot" if entry.spot else "on_demand",
        "as_of": date.fromordinal(entry.day).isoformat(),
        "price_per_hour_usd": str(usd_from_nano(entry.price_nano_usd)),
        "source": entry.source,
    }


def suggestion(book: PriceBook, name: str) -> str:
    """What may have been meant by a type that nobody knows."""
    near = nearest(name, browse.type_names(book))
    if near:
        return f"Did you mean {near}?"
    return (
        "`mlbroker prices export` lists all types; "
        f"a node of your own: `mlbroker plan JOB --explain {name}`."
    )


def plain(value: Any) -> Any:
    """A value of named fields (also nested) as dictionaries."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(item) for name, item in value._asdict().items()}
    return value
