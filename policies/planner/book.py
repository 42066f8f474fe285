"""What planning reads of a price book, and what that says of the machines measured."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from mlbroker.policies.quote import OutOfReach
from mlbroker.pricing.book import RegionPrice, Snapshot, TypeEntry
from mlbroker.pricing.offer import Offer
from mlbroker.pricing.power import CpuPower
from mlbroker.pricing.region import Region
from mlbroker.profiles.estimators.stated import hint_of
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Evidence


class Book(Protocol):
    """Types, regions and their prices at one moment (see `broker.prices.price_book.PriceBook`)."""

    @property
    def snapshot(self) -> Snapshot: ...
    def types(self) -> Sequence[TypeEntry]: ...
    def regions(self) -> dict[int, Region]: ...
    def price_rows(
        self,
        depth: int | None,
        region_ids: Collection[int] | None = None,
        type_ids: Collection[int] | None = None,
    ) -> Sequence[RegionPrice]: ...
    def prices_of(self, type_id: int, spot: int) -> Iterable[RegionPrice]: ...
    def offer(self, type_id: int, spot: int, region_id: int) -> Offer: ...
    def cpu_power(self) -> CpuPower: ...
    def core_speeds(self) -> Mapping[str, float]: ...
    @property
    def out_of_reach(self) -> OutOfReach:
        """Why the account cannot have what is sold; complete once the prices were read."""
        ...


def with_hardware(book: Book, evidence: Evidence) -> Evidence:
    """The evidence, with the hardware of the types it was gathered on."""
    batches = evidence.batches
    return evidence._replace(
        measurements=fill_hardware(book, evidence.measurements),
        history=fill_hardware(book, evidence.history),
        batches=batches and batches._replace(rows=tuple(fill_hardware(book, batches.rows))),
    )


def with_hint(book: Book, evidence: Evidence) -> Evidence:
    """The evidence, with what the user says the job takes, if that is on a type of the book."""
    takes = evidence.job.takes
    if takes is None or evidence.hint is not None:
        return evidence
    names = (kind.hardware for _, _, kind in book.types() if kind.name == takes.instance_type)
    hardware = next(names, None)
    return evidence if hardware is None else evidence._replace(hint=hint_of(evidence.job, hardware))


def fill_hardware(book: Book, rows: Sequence[Measurement]) -> list[Measurement]:
    """Measurements on known types get the type's hardware, so that others can be scaled from it."""
    names = {row.instance_type or row.config for row in rows if row.hardware is None}
    if not names:
        return list(rows)
    kinds = [kind for _, _, kind in book.types() if kind.name in names]
    by_name = {(kind.cloud, kind.name): kind.hardware for kind in kinds}
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
