"""`mlbroker prices show`: one machine type everywhere, with what it cost before."""

from datetime import date
from typing import Any

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.yaml_fields import nearest
from mlbroker.broker.home import home
from mlbroker.broker.output import plain, print_json, print_table, say
from mlbroker.broker.prices import browse
from mlbroker.broker.prices.own_prices import OwnPrices
from mlbroker.broker.prices.price_book import PriceBook
from mlbroker.broker.prices.terms import own_currency
from mlbroker.pricing.price_units import usd_from_nano


def show_type(book: PriceBook, type_name: str, as_json: bool) -> None:
    """Print every region and market of the type, cheapest first."""
    types = [entry for _, _, entry in book.types() if entry.name == type_name]
    if not types:
        raise InputError(f"unknown machine type {type_name!r}", hint=_suggestion(book, type_name))
    rows = list(browse.prices(book, type_name))
    facts = browse.lifecycles(book, type_name)
    listed = browse.list_prices(book, type_name)
    currency = own_currency(home())
    with OwnPrices(home() / "prices") as own:
        past = own.past(type_name)
    if as_json:
        described = [_type_document(entry, *facts[entry.cloud]) for entry in types]
        print_json(
            {
                "schema": "mlbroker.prices.show/1",
                "types": described,
                "prices": [
                    row.document()
                    | ({"list_price_per_hour_usd": str(listed[key])} if key in listed else {})
                    for row in rows
                    for key in [(row.cloud, row.region, row.market)]
                ],
                "history": [
                    {
                        "cloud": entry.cloud,
                        "region": entry.region,
                        "market": "spot" if entry.spot else "on_demand",
                        "as_of": date.fromordinal(entry.day).isoformat(),
                        "price_per_hour_usd": str(usd_from_nano(entry.price_nano_usd)),
                        "source": entry.source,
                    }
                    for entry in past
                ],
            }
        )
        return
    for entry in types:
        lifecycle, source, day = facts[entry.cloud]
        note = f"; not recommended: {lifecycle}" if entry.retired else ""
        say(f"{entry.cloud} {entry.name}: {_hardware_text(entry)} ({source}, {day}{note})")
    before: dict[tuple[str, str, str], list[str]] = {}
    for old in past:
        market = "spot" if old.spot else "on_demand"
        before.setdefault((old.cloud, old.region, market), []).append(
            f"{usd_from_nano(old.price_nano_usd):f} from {date.fromordinal(old.day)}"
        )
    columns = ["cloud", "region", "market", "USD/h", "list", "as of", "age", "source", "history"]
    cells = [
        [
            row.cloud,
            row.region,
            row.market,
            f"{row.price_per_hour_usd:f}",
            f"{listed[key]:f}" if key in listed else "",
            row.as_of.isoformat(),
            "stale" if row.stale else "fresh",
            row.source,
            ", ".join(before.get(key, [])[:3]),
        ]
        for row in rows
        for key in [(row.cloud, row.region, row.market)]
    ]
    for position in (8, 4):  # columns that have nothing to say are left out
        if not any(line[position] for line in cells):
            del columns[position]
            for line in cells:
                del line[position]
    if currency:
        columns.insert(4, f"{currency.code}/h")
        for line, row in zip(cells, rows, strict=True):
            line.insert(4, f"{row.price_per_hour_usd * currency.per_usd:.4f}")
    right = ("USD/h", f"{currency.code}/h" if currency else "", "list")
    print_table(columns, cells, right=right)


def _suggestion(book: PriceBook, name: str) -> str:
    near = nearest(name, browse.type_names(book))
    return (
        f"Did you mean {near}?"
        if near
        else (
            "`mlbroker prices export` lists all types; "
            f"a node of your own: `mlbroker plan JOB --explain {name}`."
        )
    )


def _hardware_text(entry: Any) -> str:
    hardware = entry.hardware
    gpu = f", {hardware.gpu_count:g} {hardware.gpu.model}" if hardware.gpu else ""
    cpu = f" {hardware.cpu}" if hardware.cpu else ""
    return f"{hardware.vcpus:g} vCPUs{cpu} {hardware.arch}, {hardware.memory_gib:g} GiB{gpu}"


def _type_document(entry: Any, lifecycle: str, source: str, day: Any) -> dict[str, Any]:
    return {**plain(entry), "lifecycle": lifecycle, "source": source, "as_of": day.isoformat()}
