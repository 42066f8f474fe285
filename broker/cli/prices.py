"""`mlbroker prices`: look at the price book, bring prices in, take them out."""

import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from mlbroker.broker.app import prices as reports
from mlbroker.broker.app.sources import book_of
from mlbroker.broker.cli.terminal import Terminal
from mlbroker.broker.errors import CloudError, InputError, ThresholdCrossed
from mlbroker.broker.home import home
from mlbroker.broker.output import print_json, print_rows, print_table, say, warn
from mlbroker.broker.prices.price_book import open_book

app = typer.Typer(no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
PricesOption = Annotated[
    Path | None, typer.Option("--prices", help="Look at this file of prices instead of the book.")
]
CloudOption = Annotated[
    list[str] | None, typer.Option("--cloud", help="Only this cloud; may be repeated.")
]
RegionOption = Annotated[
    list[str] | None, typer.Option("--region", help="Only this region; may be repeated.")
]
AGE = {True: "stale", False: "fresh"}


@app.command()
def status(prices: PricesOption = None, as_json: JsonOption = False) -> None:
    """Dates, counts and age of the prices, by cloud and source."""
    found = reports.status(home(), prices, Terminal())
    if as_json:
        print_json(found)
        return
    say(f"Prices {found['snapshot']}: {found['origin']}; {found['offers']:,} offers")
    for entry in found["refreshed"]:
        say(
            f"{entry['cloud']} refreshed {entry['at']} ({entry['scope']}): "
            f"{entry['prices']:,} prices"
        )
    print_rows(
        {"cloud": "cloud", "market": "market", "as of": "as_of", "offers": "offers", "age": "stale",
         "source": "source"},
        [p | {"offers": f"{p['offers']:,}", "stale": AGE[p["stale"]]} for p in found["parts"]],
        right=("offers",),
    )  # fmt: skip
    if found["stale_offers"]:
        warn(
            f"{found['stale_offers']:,} of {found['offers']:,} offers have prices older than "
            "half a year; `mlbroker prices refresh` fetches today's"
        )


@app.command()
def show(
    type_name: Annotated[str, typer.Argument(metavar="TYPE", help="A machine type.")],
    prices: PricesOption = None,
    as_json: JsonOption = False,
) -> None:
    """A machine type's prices everywhere, and what it cost before."""
    found = reports.machine_type(type_name, home(), prices, Terminal())
    if as_json:
        print_json(found)
    else:
        _show_type(found)


@app.command()
def export(
    prices: PricesOption = None,
    form: Annotated[str, typer.Option("--format", help="csv or json.")] = "csv",
    as_json: JsonOption = False,
) -> None:
    """Write all prices to stdout, for `prices import` and `--prices`."""
    import csv

    from mlbroker.broker.prices import browse
    from mlbroker.broker.prices.records import COLUMNS

    if form not in ("csv", "json"):
        raise InputError(f"--format {form!r} is neither csv nor json")
    book = book_of(home(), prices, Terminal())
    rows = browse.prices(book)
    if as_json or form == "json":
        print_json(
            {
                "schema": "mlbroker.prices/1",
                "snapshot": book.snapshot.id,
                "rows": [browse.price_document(row) for row in rows],
            }
        )
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
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
    found = reports.regions(home(), prices, Terminal())
    if as_json:
        print_json(found)
        return
    columns = {
        "cloud": "cloud",
        "region": "region",
        "country": "country",
        "kgCO2e/kWh": "grid_intensity_kgco2e_per_kwh",
        "PUE": "pue",
        "disk USD/GB-month": "disk_usd_per_gb_month",
        "egress USD/GB": "egress_internet_usd_per_gb",
    }
    rows = [
        {key: "unknown" if value is None else value for key, value in region.items()}
        | {"country": region["country"] or "?"}
        for region in found["regions"]
    ]
    print_rows(columns, rows, right=list(columns)[3:])


@app.command()
def refresh(
    cloud: CloudOption = None,
    region: RegionOption = None,
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
    from mlbroker.broker.cli.refresh_bar import RefreshBar

    with RefreshBar() as bar:
        found = reports.refreshed(home(), cloud, region, instance_type, bar, accept=accept)
    if as_json:
        print_json(found)
    for each in found["refreshed"]:
        name = each["cloud"]
        say(f"{name}: {each['prices']:,} prices fetched, {each['withdrawn']:,} no longer sold")
        if left_out := each["without_honest_price"]:
            warn(f"{name}: {left_out:,} rows without an honest price left out")
        if jumped := each["jumped"]:
            warn(
                f"{name}: {jumped:,} prices jumped and are not believed;"
                " `mlbroker prices verify` lists them"
            )
    if failed := found["failed"]:
        reasons = "\n".join(failed.values())
        raise CloudError(f"{reasons}\n  The old prices of {', '.join(failed)} are untouched.")


@app.command()
def quotas(
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask the clouds, with your credentials.")
    ] = False,
    cloud: CloudOption = None,
    region: RegionOption = None,
    as_json: JsonOption = False,
) -> None:
    """What the account may have, and where capacity was short lately."""
    if refresh:
        reports.refresh_quotas(home(), cloud, region, Terminal())
    found = reports.quotas(home(), cloud, region)
    if as_json:
        print_json(found)
        return
    if not found["as_of"]:
        say("No quotas known: `mlbroker prices quotas --refresh` asks the clouds.")
    if found["quotas"]:
        print_table(
            ("cloud", "region", "market", "allowed", "in use", "unit", "as of", "quota"),
            [
                (
                    quota["cloud"],
                    quota["region"],
                    "spot" if quota["spot"] else "on_demand",
                    f"{quota['limit']:g}",
                    "unknown" if quota["used"] is None else f"{quota['used']:g}",
                    quota["gpu"] or quota["unit"],
                    found["as_of"].get(quota["cloud"], "unknown"),
                    quota["name"],
                )
                for quota in found["quotas"]
            ],
            right=("allowed", "in use"),
        )
    for short in found["shortages"]:
        where = short["zone"] or short["region"]
        market = "spot" if short["spot"] else "on-demand"
        say(
            f"Short: {short['cloud']} {where} {short['instance_type']} {market}"
            f" at {datetime.fromisoformat(short['at']):%H:%M} UTC: {short['detail']}"
        )


@app.command()
def verify(prices: PricesOption = None, as_json: JsonOption = False) -> None:
    """Prices that are not offered because they cannot be right.

    Exit codes: 0 none, 5 there are some.
    """
    found = reports.odd_prices(home(), prices)
    odd, jumped = found["quarantined"], found["jumped"]
    if as_json:
        print_json(found)
    elif odd or jumped:
        believable = [
            f"{_plain(row['lowest_believable_usd'])} to {_plain(row['highest_believable_usd'])}"
            for row in odd
        ] + [f"was {_plain(row['last_price_per_hour_usd'])}" for row in jumped]
        print_rows(
            {"cloud": "cloud", "region": "region", "type": "instance_type", "market": "market",
             "USD/h": "usd", "believable": "believable", "as of": "as_of", "source": "source"},
            [
                row | {"usd": _plain(row["price_per_hour_usd"]), "believable": words}
                for row, words in zip([*odd, *jumped], believable, strict=True)
            ],
            right=("USD/h",),
        )  # fmt: skip
    for notice in found["notices"]:
        warn(notice)
    if odd or jumped:
        raise ThresholdCrossed(f"kept out of the book: {len(odd) + len(jumped):,} of the prices")
    say(f"{found['offers']:,} offers, none of them odd")


def _show_type(found: dict[str, Any]) -> None:
    """The hardware, and every region and market, cheapest first."""
    from mlbroker.broker.prices.terms import own_currency

    for entry in found["types"]:
        note = f"; not recommended: {entry['lifecycle']}" if entry["retired"] else ""
        described = f"({entry['source']}, {entry['as_of']}{note})"
        say(f"{entry['cloud']} {entry['name']}: {_hardware_text(entry['hardware'])} {described}")
    before: dict[tuple[str, str, str], list[str]] = {}
    for old in found["history"]:
        before.setdefault((old["cloud"], old["region"], old["market"]), []).append(
            f"{_plain(old['price_per_hour_usd'])} from {old['as_of']}"
        )
    columns = {"cloud": "cloud", "region": "region", "market": "market", "USD/h": "usd"}
    currency = own_currency(home())
    own = f"{currency.code}/h" if currency else ""
    if currency:
        columns[own] = "own"
    columns |= {"list": "list", "as of": "as_of", "age": "age", "source": "source"}
    columns["history"] = "history"
    rows = []
    for row in found["prices"]:
        usd, listed = Decimal(row["price_per_hour_usd"]), row.get("list_price_per_hour_usd")
        past = before.get((row["cloud"], row["region"], row["market"]), [])
        rows.append(
            row
            | {"usd": f"{usd:f}", "list": listed and _plain(listed), "age": AGE[row["stale"]]}
            | {"own": currency and f"{usd * currency.per_usd:.4f}", "history": ", ".join(past[:3])}
        )
    for name in ("history", "list"):  # columns that have nothing to say are left out
        if not any(row[name] for row in rows):
            del columns[name]
    print_rows(columns, rows, right=("USD/h", own, "list"))


def _hardware_text(hardware: dict[str, Any]) -> str:
    gpu, cpu = hardware["gpu"], hardware["cpu"]
    return (
        f"{hardware['vcpus']:g} vCPUs{f' {cpu}' if cpu else ''} {hardware['arch']}, "
        f"{hardware['memory_gib']:g} GiB"
        + (f", {hardware['gpu_count']:g} {gpu['model']}" if gpu else "")
    )


def _plain(amount: str) -> str:
    """Money without a power of ten."""
    return f"{Decimal(amount):f}"
