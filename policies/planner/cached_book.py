"""A price book whose answers are remembered, and a view of a few of its types."""

from collections.abc import Collection, Sequence
from functools import cache

from mlbroker.policies.planner.book import Book
from mlbroker.pricing.book import RegionPrice, TypeEntry


class CachedBook:
    """The book, asked once for each thing: many plans ask the same."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self.snapshot = book.snapshot
        self.out_of_reach = book.out_of_reach
        self.types = cache(book.types)
        self.regions = cache(book.regions)
        self.cpu_power = cache(book.cpu_power)
        self.core_speeds = cache(book.core_speeds)
        self.offer = cache(book.offer)
        self.prices_of = cache(self._prices_of)
        self.rows_by_type = cache(self._rows_by_type)
        self._price_rows = cache(book.price_rows)

    def _prices_of(self, type_id: int, spot: int) -> list[RegionPrice]:
        """Read to the end."""
        return list(self._book.prices_of(type_id, spot))

    def price_rows(
        self,
        depth: int | None,
        region_ids: Collection[int] | None = None,
        type_ids: Collection[int] | None = None,
    ) -> Sequence[RegionPrice]:
        """As the book's."""
        regions = None if region_ids is None else frozenset(region_ids)
        types = None if type_ids is None else frozenset(type_ids)
        return self._price_rows(depth, regions, types)

    def _rows_by_type(
        self, depth: int | None, region_ids: frozenset[int] | None
    ) -> dict[int, list[RegionPrice]]:
        """The rows of `price_rows` for every type, by type."""
        rows: dict[int, list[RegionPrice]] = {}
        for row in self.price_rows(depth, region_ids):
            rows.setdefault(row.type_id, []).append(row)
        return rows


class SomeTypes:
    """The book as if it held only some types."""

    def __init__(self, book: CachedBook, entries: Sequence[TypeEntry]) -> None:
        self._book = book
        self._entries = entries
        self.snapshot = book.snapshot
        self.out_of_reach = book.out_of_reach
        self.regions = book.regions
        self.cpu_power = book.cpu_power
        self.core_speeds = book.core_speeds
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
        regions = None if region_ids is None else frozenset(region_ids)
        rows = self._book.rows_by_type(depth, regions)
        return [row for entry in self._entries for row in rows.get(entry.id, ())]
