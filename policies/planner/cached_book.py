"""A price book whose answers are remembered, and a view of a few of its types."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, TypeVar

from mlbroker.policies.planner.book import Book
from mlbroker.policies.quote import OutOfReach
from mlbroker.pricing.book import RegionPrice, Snapshot, TypeEntry
from mlbroker.pricing.offer import Offer
from mlbroker.pricing.power import CpuPower
from mlbroker.pricing.region import Region

T = TypeVar("T")


class CachedBook:
    """The book, asked once for each thing: many plans ask the same."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._answers: dict[tuple[Any, ...], Any] = {}
        self.snapshot: Snapshot = book.snapshot
        self.out_of_reach: OutOfReach = book.out_of_reach

    def types(self) -> Sequence[TypeEntry]:
        """As the book's."""
        return self._once(("types",), self._book.types)

    def regions(self) -> dict[int, Region]:
        """As the book's."""
        return self._once(("regions",), self._book.regions)

    def cpu_power(self) -> CpuPower:
        """As the book's."""
        return self._once(("cpu_power",), self._book.cpu_power)

    def offer(self, type_id: int, spot: int, region_id: int) -> Offer:
        """As the book's."""
        key = ("offer", type_id, spot, region_id)
        return self._once(key, lambda: self._book.offer(type_id, spot, region_id))

    def prices_of(self, type_id: int, spot: int) -> Iterable[RegionPrice]:
        """As the book's, read to the end."""
        key = ("prices_of", type_id, spot)
        return self._once(key, lambda: list(self._book.prices_of(type_id, spot)))

    def price_rows(
        self,
        depth: int | None,
        region_ids: Collection[int] | None = None,
        type_ids: Collection[int] | None = None,
    ) -> Sequence[RegionPrice]:
        """As the book's."""
        regions = None if region_ids is None else frozenset(region_ids)
        types = None if type_ids is None else frozenset(type_ids)
        key = ("price_rows", depth, regions, types)
        return self._once(key, lambda: self._book.price_rows(depth, region_ids, type_ids))

    def rows_by_type(
        self, depth: int | None, region_ids: Collection[int] | None
    ) -> dict[int, list[RegionPrice]]:
        """The rows of `price_rows` for every type, by type."""

        def sort() -> dict[int, list[RegionPrice]]:
            rows: dict[int, list[RegionPrice]] = {}
            for row in self.price_rows(depth, region_ids):
                rows.setdefault(row.type_id, []).append(row)
            return rows

        regions = None if region_ids is None else frozenset(region_ids)
        return self._once(("rows_by_type", depth, regions), sort)

    def _once(self, key: tuple[Any, ...], read: Callable[[], T]) -> T:
        if key not in self._answers:
            self._answers[key] = read()
        answer: T = self._answers[key]
        return answer


class SomeTypes:
    """The book as if it held only some types."""

    def __init__(self, book: CachedBook, entries: Sequence[TypeEntry]) -> None:
        self._book = book
        self._entries = entries
        self.snapshot = book.snapshot
        self.out_of_reach = book.out_of_reach
        self.regions = book.regions
        self.cpu_power = book.cpu_power
        self.offer = book.offer
        self.prices_of = book.prices_of

    def types(self) -> Sequence[TypeEntry]:
        """The chosen ones."""
        return self._entries

    def price_rows(
        self,
        depth: int | None,
        region_ids: Collection[int] | None = None,
        type_ids: Collection[int] | None = None,
    ) -> Sequence[RegionPrice]:
        """As the book's, of the chosen types."""
        if type_ids is not None:
            return self._book.price_rows(depth, region_ids, type_ids)
        rows = self._book.rows_by_type(depth, region_ids)
        return [row for entry in self._entries for row in rows.get(entry.id, ())]
