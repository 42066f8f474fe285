"""The price book with the user's own machines in it."""

from collections.abc import Collection, Iterator, Sequence
from datetime import date
from typing import Any

from mlbroker.broker.files.nodes import ON_PREM, Node
from mlbroker.policies.planner.book import Book
from mlbroker.pricing.book import RegionPrice, TypeEntry
from mlbroker.pricing.offer import InstanceType, Market, Offer
from mlbroker.pricing.price_units import NANO_PER_USD
from mlbroker.pricing.region import Region

# Offices and machine rooms without a figure of their own (Uptime Institute's 2023 survey: 1.58).
OFFICE_PUE = 1.58


class WithNodes:
    """A book that also offers `nodes`, in a region of their own for each way to reach them.

    Ids of types, hardware and regions go on from the book's. What the book is asked for once for
    each of thousands of offers is read once.
    """

    def __init__(self, book: Book, nodes: Sequence[Node], today: date) -> None:
        self._book = book
        self._nodes = nodes
        self._today = today
        self._types = list(book.types())
        self._first = max((number for number, _, _ in self._types), default=-1) + 1
        first_hardware = max((hardware for _, hardware, _ in self._types), default=-1) + 1
        speeds = book.core_speeds()
        self._types += (
            TypeEntry(
                self._first + n,
                first_hardware + n,
                InstanceType(
                    node.cloud,
                    node.name,
                    # As fast as its processor usually is.
                    node.hardware._replace(core_speed=speeds.get(node.hardware.cpu or "")),
                ),
            )
            for n, node in enumerate(nodes)
        )
        regions = book.regions()
        first_region = max(regions, default=-1) + 1
        places = {
            cloud: first_region + n for n, cloud in enumerate(sorted({n.cloud for n in nodes}))
        }
        self._regions = regions | {
            number: Region(cloud, ON_PREM, pue=OFFICE_PUE) for cloud, number in places.items()
        }
        # On demand: nobody takes them away.
        self._rows = [
            RegionPrice(
                self._first + n,
                0,
                places[node.cloud],
                int(node.price_per_hour_usd * NANO_PER_USD),
                None,
                0,
            )
            for n, node in enumerate(nodes)
        ]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._book, name)

    def types(self) -> Sequence[TypeEntry]:
        """The book's types, and one for each node."""
        return self._types

    def regions(self) -> dict[int, Region]:
        """The book's regions, and one for each way to reach a node."""
        return self._regions

    def price_rows(
        self,
        depth: int | None,
        region_ids: Collection[int] | None = None,
        type_ids: Collection[int] | None = None,
    ) -> list[RegionPrice]:
        """The book's rows, then the nodes'."""
        own = (
            row
            for row in self._rows
            if (region_ids is None or row.region_id in region_ids)
            and (type_ids is None or row.type_id in type_ids)
        )
        return [*self._book.price_rows(depth, region_ids, type_ids), *own]

    def prices_of(self, type_id: int, spot: int) -> Iterator[RegionPrice]:
        """Every region's price of one type and market, cheapest first."""
        if type_id < self._first:
            return iter(self._book.prices_of(type_id, spot))
        return (row for row in self._rows if row.offered == (type_id, spot))

    def offer(self, type_id: int, spot: int, region_id: int) -> Offer:
        """One offer in full; of a node, with how its price was derived as the source."""
        if type_id < self._first:
            return self._book.offer(type_id, spot, region_id)
        node = self._nodes[type_id - self._first]
        return Offer(
            node.cloud,
            ON_PREM,
            node.name,
            Market.ON_DEMAND,
            node.price_per_hour_usd,
            self._today,
            node.how,
        )
