"""Make the embedded price book from a folder of normalised price tables.

    python -m scripts.price_book.make FOLDER [--into pricing/data]

The same tables give the same bytes. The document's keys:
`format, built, sources[], gpus[], hardware[], types[], regions[], cpu_power{}, interruption{}`
and `offers{}`, whose columns are sorted by type, market and region, with the type as the
difference to the row above.
"""

import argparse
import hashlib
import json
import lzma
from pathlib import Path
from typing import Any

from scripts.price_book.attachable_gpus import compose
from scripts.price_book.hardware import Catalog, hardware_catalog
from scripts.price_book.regions import cpu_power, region_rows
from scripts.price_book.tables import Row, iso_day, read_table

from mlbroker.broker.prices import embedded
from mlbroker.pricing.price_units import nano_from_usd

INTERRUPTION_BANDS = {0: 0.025, 5: 0.075, 10: 0.125, 15: 0.175, 20: 0.25}


def build(folder: Path) -> dict[str, Any]:
    """The whole document from the tables in `folder`."""
    types = read_table(folder, "instance_types.parquet")
    offers = read_table(folder, "offers.parquet")
    attached_types, attached_offers = compose(
        types,
        offers,
        read_table(folder, "gcp_accelerators.parquet"),
        read_table(folder, "gcp_accelerator_rules.csv"),
    )
    types += attached_types
    offers += attached_offers
    regions = region_rows(folder)
    region_ids = {(row[0], row[1]): index for index, row in enumerate(regions)}
    sources = sorted({str(row["source"]) for row in [*types, *offers]})
    catalog = hardware_catalog(types, read_table(folder, "gpus.csv"), sources)
    return {
        "format": embedded.FORMAT,
        "built": max(iso_day(row["as_of"]) for row in [*types, *offers]),
        "sources": sources,
        "gpus": catalog.gpus,
        "hardware": catalog.hardware,
        "types": catalog.types,
        "regions": regions,
        "cpu_power": cpu_power(folder),
        "interruption": _interruption(folder, catalog, region_ids),
        "offers": _offer_columns(offers, catalog, region_ids, sources),
    }


def _offer_columns(
    offers: list[Row],
    catalog: Catalog,
    region_ids: dict[tuple[str, str], int],
    sources: list[str],
) -> dict[str, Any]:
    days = sorted({iso_day(row["as_of"]) for row in offers})
    day_index = {day: index for index, day in enumerate(days)}
    source_index = {source: index for index, source in enumerate(sources)}
    rows = []
    for row in offers:
        price = nano_from_usd(row["price_per_hour_usd"])
        if price is None:
            raise ValueError(f"not a price: {row}")
        rows.append(
            (
                catalog.ids[row["cloud"], row["instance_type"]],
                int(row["market"] == "spot"),
                region_ids[row["cloud"], row["region"]],
                price,
                day_index[iso_day(row["as_of"])],
                source_index[row["source"]],
                int(row["stale"]),
            )
        )
    rows.sort()
    type_ids, *columns = (list(column) for column in zip(*rows, strict=True))
    steps = [now - before for before, now in zip([0, *type_ids], type_ids, strict=False)]
    names = ("spot", "region", "price_nano_usd", "day", "source", "stale")
    return {"days": days, "type_step": steps, **dict(zip(names, columns, strict=True))}


def _interruption(
    folder: Path, catalog: Catalog, region_ids: dict[tuple[str, str], int]
) -> dict[str, list[Any]]:
    """The share interrupted in a month as the middle of its published band.

    The open band, above 20 %, counts as 25 %.
    """
    rows = sorted(
        (catalog.ids[key], region_ids[row["cloud"], row["region"]], row["band_low"])
        for row in read_table(folder, "spot_interruption.csv")
        if (key := (row["cloud"], row["instance_type"])) in catalog.ids
        and (row["cloud"], row["region"]) in region_ids
    )
    return {
        "type": [row[0] for row in rows],
        "region": [row[1] for row in rows],
        "rate": [INTERRUPTION_BANDS[row[2]] for row in rows],
    }


def write(document: dict[str, Any], into: Path) -> int:
    """Write the book and its description; returns the packed size in bytes."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    packed = lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME)
    facts = {
        "format": document["format"],
        "sha256": hashlib.sha256(packed).hexdigest(),
        "built": document["built"],
        "offers": len(document["offers"]["spot"]),
        "types": len(document["types"]),
        "regions": len(document["regions"]),
        "sources": document["sources"],
    }
    into.mkdir(parents=True, exist_ok=True)
    (into / embedded.DATA).write_bytes(packed)
    (into / embedded.DESCRIPTION).write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    return len(packed)


def main() -> None:
    """Command line of the builder."""
    parser = argparse.ArgumentParser(description="Make the embedded price book.")
    parser.add_argument("folder", type=Path, help="folder with the normalised price tables")
    parser.add_argument("--into", type=Path, default=Path("pricing/data"))
    arguments = parser.parse_args()
    document = build(arguments.folder)
    size = write(document, arguments.into)
    offers = len(document["offers"]["spot"])
    print(  # a developer's command: its one line of result
        f"{offers:,} offers of {len(document['types']):,} types in "
        f"{len(document['regions'])} regions, {size / 1e6:.2f} MB in {arguments.into}"
    )


if __name__ == "__main__":
    main()
