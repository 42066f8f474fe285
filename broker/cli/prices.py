"""`mlbroker prices`: look at the price book, bring prices in, take them out."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from mlbroker.broker.errors import InputError, ThresholdCrossed
from mlbroker.broker.home import home
from mlbroker.broker.output import print_json, print_table, say, warn
from mlbroker.broker.prices.price_book import PriceBook, open_book

app = typer.Typer(no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
PricesOption = Annotated[
    Path | None, typer.Option("--prices", help="Look at this file of prices instead of the book.")
]


def _open(prices: Path | None = None) -> PriceBook:
    book = open_book(home(), prices)
    for notice in book.notices:
        warn(notice)
    return book


@app.command()
def status(prices: PricesOption = None, as_json: JsonOption = False) -> None:
    """Dates, counts and age of the prices, by cloud and source."""
    from mlbroker.broker.prices import browse, embedded
    from mlbroker.broker.prices.own_prices import OwnPrices

    book = _open(prices)
    snapshot = book.snapshot
    parts = browse.parts(book)
    with OwnPrices(home() / "prices") as own:
        refreshes = own.refreshes() if prices is None else []
    if as_json:
        print_json(
            {
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
                "parts": [part._asdict() | {"as_of": part.as_of.isoformat()} for part in parts],
            }
        )
        return
    say(f"Prices {snapshot.id}: {book.origin}; {snapshot.offers:,} offers")
    for entry in refreshes:
        say(f"{entry.cloud} refreshed {entry.at} ({entry.scope}): {entry.prices:,} prices")
    print_table(
        ("cloud", "market", "as of", "offers", "age", "source"),
        [
            (
                part.cloud,
                part.market,
                part.as_of.isoformat(),
                f"{part.offers:,}",
                "stale" if part.stale else "fresh",
                part.source,
            )
            for part in parts
        ],
        right=("offers",),
    )
    if snapshot.stale_offers:
        warn(
            f"{snapshot.stale_offers:,} of {snapshot.offers:,} offers have prices older than "
            "half a year; `mlbroker prices refresh` fetches today's"
        )


@app.command()
def show(
    type_name: Annotated[str, typer.Argument(metavar="TYPE", help="A machine type.")],
    prices: PricesOption = None,
    as_json: JsonOption = False,
) -> None:
    """A machine type's prices everywhere, and what it cost before."""
    from mlbroker.broker.cli.prices_show import show_type

    show_type(_open(prices), type_name, as_json)


@app.command()
def export(
    prices: PricesOption = None,
    form: Annotated[str, typer.Option("--format", help="csv or json.")] = "csv",
    as_json: JsonOption = False,
) -> None:
    """Write all prices to stdout, for `prices import` and `--prices`."""
    import csv
    import sys

    from mlbroker.broker.prices import browse

    if form not in ("csv", "json"):
        raise InputError(f"--format {form!r} is neither csv nor json")
    book = _open(prices)
    rows = browse.prices(book)
    if as_json or form == "json":
        print_json(
            {
                "schema": "mlbroker.prices/1",
                "snapshot": book.snapshot.id,
                "rows": [row.document() for row in rows],
            }
        )
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(browse.Price._fields)
    for row in rows:
        stale = "true" if row.stale else "false"
        writer.writerow((*row[:4], f"{row.price_per_hour_usd:f}", *row[5:7], stale))


@app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(help="CSV (also .csv.gz) or Parquet with the columns of export.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Keep the prices of a file, which win over the book's.

    Rows without an honest price are left out and counted.
    """
    from mlbroker.broker.prices.index_cache import import_file

    accepted, notices = import_file(home(), file, datetime.now(UTC))
    for notice in notices:
        warn(notice)
    book = open_book(home())
    if as_json:
        print_json(
            {
                "schema": "mlbroker.prices.import/1",
                "imported": accepted,
                "notices": [*notices, *book.notices],
                "snapshot": book.snapshot.id,
            }
        )
        return
    for notice in book.notices:
        warn(notice)
    say(f"{accepted:,} prices imported; the book is now {book.snapshot.id}: {book.origin}")


@app.command()
def forget(
    imported: Annotated[bool, typer.Option("--imported", help="What `import` kept.")] = False,
    fetched: Annotated[bool, typer.Option("--fetched", help="What `refresh` fetched.")] = False,
) -> None:
    """Drop what was imported, or fetched, or both."""
    from mlbroker.broker.prices import index_cache

    if not imported and not fetched:
        raise InputError("nothing to forget", hint="Give --imported, --fetched, or both.")
    index_cache.forget(home(), imported, fetched, datetime.now(UTC))
    book = open_book(home())
    say(f"The book is now {book.snapshot.id}: {book.origin}; {book.snapshot.offers:,} offers")


@app.command()
def regions(prices: PricesOption = None, as_json: JsonOption = False) -> None:
    """Regions: their grid's carbon, and what disk and traffic cost."""
    book = _open(prices)
    listed = sorted(book.regions().values(), key=lambda r: (r.cloud, r.name))
    if as_json:
        print_json({"schema": "mlbroker.prices.regions/1", "regions": [_region(r) for r in listed]})
        return
    print_table(
        ("cloud", "region", "country", "kgCO2e/kWh", "PUE", "disk USD/GB-month", "egress USD/GB"),
        [
            (
                r.cloud,
                r.name,
                r.country or "?",
                _known(r.grid_kgco2e_per_kwh),
                _known(r.pue),
                _known(r.disk_usd_per_gb_month),
                _known(r.egress_internet_usd_per_gb),
            )
            for r in listed
        ],
        right=("kgCO2e/kWh", "PUE", "disk USD/GB-month", "egress USD/GB"),
    )


def _known(value: object) -> str:
    return "unknown" if value is None else str(value)


def _region(region: Any) -> dict[str, Any]:
    """The region's facts under their own names; the grid's under the name a quote gives it."""
    from dataclasses import asdict
    from decimal import Decimal

    facts = {
        key: str(value) if isinstance(value, Decimal) else value
        for key, value in asdict(region).items()
    }
    facts["region"] = facts.pop("name")
    facts["grid_intensity_kgco2e_per_kwh"] = facts.pop("grid_kgco2e_per_kwh")
    return facts


@app.command()
def refresh(
    cloud: Annotated[
        list[str] | None, typer.Option("--cloud", help="Only this cloud; may be repeated.")
    ] = None,
    region: Annotated[
        list[str] | None, typer.Option("--region", help="Only this region; may be repeated.")
    ] = None,
    instance_type: Annotated[
        list[str] | None, typer.Option("--instance-type", help="Only this machine type.")
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Believe prices that jumped, answers that shrank.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Fetch today's prices from the vendors.

    A cloud that fails keeps its old prices whole.

    Without an account, AWS's public on-demand prices and all of Azure's are fetched; AWS spot
    prices and GCP need credentials.
    """
    from mlbroker.broker.cli.prices_progress import Bar, report
    from mlbroker.broker.prices.feeds import FEEDS
    from mlbroker.broker.prices.feeds.interface import Scope
    from mlbroker.broker.prices.refresh import refresh as run

    names = list(dict.fromkeys(cloud or FEEDS))
    for name in names:
        if name not in FEEDS:
            raise InputError(f"--cloud {name!r} has no price feed", hint=f"{', '.join(FEEDS)}")
    scope = Scope(frozenset(region or ()), frozenset(instance_type or ()))
    with Bar() as bar:
        feeds = [FEEDS[name]() for name in names]
        result = run(home(), feeds, scope, datetime.now(UTC), progress=bar, accept=accept)
    report(result, open_book(home()).snapshot.id, as_json)


@app.command()
def quotas(
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask the clouds, with your credentials.")
    ] = False,
    cloud: Annotated[
        list[str] | None, typer.Option("--cloud", help="Only this cloud; may be repeated.")
    ] = None,
    region: Annotated[
        list[str] | None, typer.Option("--region", help="Only this region; may be repeated.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What the account may have, and where capacity was short lately."""
    from mlbroker.broker.cli.prices_quotas import refresh_quotas, show_quotas

    if refresh:
        refresh_quotas(open_book(home()), cloud, region)
    show_quotas(cloud, region, as_json)


@app.command()
def verify(prices: PricesOption = None, as_json: JsonOption = False) -> None:
    """Prices that are not offered because they cannot be right.

    Exit codes: 0 none, 5 there are some.
    """
    from mlbroker.broker.prices import browse
    from mlbroker.broker.prices.own_prices import OwnPrices
    from mlbroker.pricing.price_units import usd_from_nano

    book = open_book(home(), prices)
    odd = browse.odd_prices(book)
    with OwnPrices(home() / "prices") as own:
        jumps = own.jumps() if prices is None else []
    if as_json:
        print_json(
            {
                "schema": "mlbroker.prices.verify/1",
                "snapshot": book.snapshot.id,
                "offers": book.snapshot.offers,
                "notices": book.notices,
                "quarantined": [
                    entry.price.document()
                    | {
                        "lowest_believable_usd": str(entry.lowest_usd),
                        "highest_believable_usd": str(entry.highest_usd),
                    }
                    for entry in odd
                ],
                "jumped": [
                    {
                        "cloud": jump.cloud,
                        "region": jump.region,
                        "instance_type": jump.instance_type,
                        "market": "spot" if jump.spot else "on_demand",
                        "price_per_hour_usd": str(usd_from_nano(jump.price_nano_usd)),
                        "last_price_per_hour_usd": str(usd_from_nano(jump.before_nano_usd)),
                        "as_of": date.fromordinal(jump.day).isoformat(),
                        "source": jump.source,
                    }
                    for jump in jumps
                ],
            }
        )
    elif odd or jumps:
        print_table(
            ("cloud", "region", "type", "market", "USD/h", "believable", "as of", "source"),
            [
                (
                    entry.price.cloud,
                    entry.price.region,
                    entry.price.instance_type,
                    entry.price.market,
                    f"{entry.price.price_per_hour_usd:f}",
                    f"{entry.lowest_usd:f} to {entry.highest_usd:f}",
                    entry.price.as_of.isoformat(),
                    entry.price.source,
                )
                for entry in odd
            ]
            + [
                (
                    jump.cloud,
                    jump.region,
                    jump.instance_type,
                    "spot" if jump.spot else "on_demand",
                    f"{usd_from_nano(jump.price_nano_usd):f}",
                    f"was {usd_from_nano(jump.before_nano_usd):f}",
                    date.fromordinal(jump.day).isoformat(),
                    jump.source,
                )
                for jump in jumps
            ],
            right=("USD/h",),
        )
    for notice in book.notices:
        warn(notice)
    if odd or jumps:
        raise ThresholdCrossed(f"kept out of the book: {len(odd) + len(jumps):,} of the prices")
    say(f"{book.snapshot.offers:,} offers, none of them odd")
