"""What machines were measured on, where the book knows them and the measurement does not say."""

from collections.abc import Sequence
from dataclasses import replace

from mlbroker.policies.planner.book import Book
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Evidence


def with_hardware(book: Book, evidence: Evidence) -> Evidence:
    """The evidence, with the hardware of the types it was gathered on."""
    return evidence._replace(
        measurements=fill_hardware(book, evidence.measurements),
        history=fill_hardware(book, evidence.history),
    )


def fill_hardware(book: Book, rows: Sequence[Measurement]) -> list[Measurement]:
    """Measurements on known types get the type's hardware, so that others can be scaled from it."""
    if all(row.hardware is not None for row in rows):
        return list(rows)
    by_name = {(kind.cloud, kind.name): kind.hardware for _, _, kind in book.types()}
    any_cloud = {name: hardware for (_, name), hardware in by_name.items()}
    return [
        row
        if row.hardware is not None
        else replace(
            row,
            hardware=by_name.get((row.cloud or "", row.instance_type or row.config))
            or (any_cloud.get(row.instance_type or row.config) if row.cloud is None else None),
        )
        for row in rows
    ]
