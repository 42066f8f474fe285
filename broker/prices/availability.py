"""What the account cannot have now, quotas and shortages together, as a plan asks it."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlbroker.broker.prices import quotas, shortages
from mlbroker.broker.prices.shortages import Shortage
from mlbroker.policies.quote import Reason
from mlbroker.pricing.book import RegionPrice
from mlbroker.pricing.offer import InstanceType
from mlbroker.pricing.region import Region

if TYPE_CHECKING:
    from mlbroker.policies.planner.book import Book

# A type that is short in so many zones of a region is taken to be short in all of it.
ZONES_OF_A_REGION = 3


class Availability:
    """Quotas and shortages, read once."""

    def __init__(self, known: quotas.Quotas, shortages: Iterable[Shortage]) -> None:
        self._quotas = known
        self._short: dict[tuple[str, str, str, bool], list[Shortage]] = {}
        for shortage in shortages:
            key = (shortage.cloud, shortage.region, shortage.instance_type, shortage.spot)
            self._short.setdefault(key, []).append(shortage)

    @property
    def empty(self) -> bool:
        """Nothing is known to be out of reach."""
        return not self._quotas.all and not self._short

    def refusal(
        self, kind: InstanceType, region: str, spot: bool, nodes: int = 1, zone: str | None = None
    ) -> tuple[Reason, str] | None:
        """Why `nodes` machines of this kind are out of reach there, None when they are not.

        With `zone` only that zone of the region would do.
        """
        shortages = self._short.get((kind.cloud, region, kind.name, spot), [])
        whole = [shortage for shortage in shortages if shortage.zone in (None, zone)]
        if whole or (zone is None and len(shortages) >= ZONES_OF_A_REGION):
            last = max(whole or shortages, key=lambda shortage: shortage.at)
            where = last.zone if zone and last.zone else region
            return Reason.NO_CAPACITY, f"{where} had none at {last.at:%H:%M} UTC: {last.detail}"
        why = self._quotas.lookup(kind, region, spot, nodes)
        return (Reason.NO_QUOTA, why) if why else None


def load_availability(home: Path, now: datetime) -> Availability:
    """What is known on this machine; cheap when nothing is."""
    return Availability(quotas.load(home), shortages.lately(home, now))


class AvailableBook:
    """A price book without the offers that are out of reach; it reads like the book itself.

    `out_of_reach` tells for each type and market why its last offer was left out.
    """

    def __init__(
        self, book: "Book", known: Availability, nodes: int = 1, zone: str | None = None
    ) -> None:
        self._book = book
        self._availability = known
        self._nodes = nodes
        self._zone = zone
        self._types: dict[int, InstanceType] = {i: entry for i, _, entry in book.types()}
        self._regions: Mapping[int, Region] = book.regions()
        self._known: dict[tuple[int, int, int], bool] = {}
        self.out_of_reach: dict[tuple[int, int], tuple[Reason, str]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._book, name)

    def price_rows(
        self,
        depth: int | None,
        region_ids: Collection[int] | None = None,
        type_ids: Collection[int] | None = None,
    ) -> list[RegionPrice]:
        """As the book's; where a cheap region is out of reach, the next ones stand in."""
        rows = self._book.price_rows(depth, region_ids, type_ids)
        kept = [row for row in rows if self._within(row)]
        if depth is None or region_ids is not None or len(kept) == len(rows):
            return kept
        short = {row.offered for row in rows if not self._within(row)}
        kept = [row for row in kept if row.offered not in short]
        for type_id, spot in short:
            kept += islice(self.prices_of(type_id, spot), depth)
        return sorted(
            kept, key=lambda row: (row.type_id, row.spot, row.nano_usd_per_hour, row.region_id)
        )

    def prices_of(self, type_id: int, spot: int) -> Iterator[RegionPrice]:
        """As the book's."""
        return filter(self._within, self._book.prices_of(type_id, spot))

    def _within(self, row: RegionPrice) -> bool:
        type_id, spot, region_id, *_ = row
        key = (type_id, spot, region_id)
        known = self._known.get(key)
        if known is None:
            kind, region = self._types[type_id], self._regions[region_id].name
            why = self._availability.refusal(kind, region, bool(spot), self._nodes, self._zone)
            known = self._known[key] = why is None
            if why is not None:
                self.out_of_reach[type_id, spot] = why
        return known


def available_book(book: "Book", home: Path, nodes: int, zone: str | None, now: datetime) -> "Book":
    """The book without what the account cannot have now; itself when nothing is known."""
    known = load_availability(home, now)
    return book if known.empty else AvailableBook(book, known, nodes, zone)
