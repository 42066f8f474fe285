"""A cut of the embedded book, so that tests that index it again and again stay quick."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from scripts.price_book.make import write

from mlbroker.broker.prices import embedded


@contextmanager
def small_book(folder: Path, regions: Collection[str]) -> Iterator[None]:
    """While it lasts, the embedded book has offers in `regions` only."""
    document = embedded.load()
    offers = document["offers"]
    kept = {i for i, row in enumerate(document["regions"]) if row[1] in regions}
    names = ("spot", "region", "price_nano_usd", "day", "source", "stale")
    columns: dict[str, list[int]] = {name: [] for name in ("type_step", *names)}
    type_id = last = 0
    for position, (step, region) in enumerate(
        zip(offers["type_step"], offers["region"], strict=True)
    ):
        type_id += step
        if region in kept:
            columns["type_step"].append(type_id - last)
            last = type_id
            for name in names:
                columns[name].append(offers[name][position])
    write(document | {"offers": {"days": offers["days"], **columns}}, folder)
    with patch.object(embedded, "FOLDER", folder):
        embedded.description.cache_clear()
        try:
            yield
        finally:
            embedded.description.cache_clear()
