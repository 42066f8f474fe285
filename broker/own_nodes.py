"""The price book with the user's own machines in it."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from mlbroker.broker.files.nodes import ON_PREM, Node
from mlbroker.broker.planning import NANO_PER_USD, Book
from mlbroker.policies.quote import OutOfReach
from mlbroker.pricing.book import PriceRow, Snapshot
from mlbroker.pricing.offer import InstanceType, Market, Offer
from mlbroker.pricing.power import CpuPower
from mlbroker.pricing.region import Region

# Offices and machine rooms without a figure of their own (Uptime Institute's 2023 survey: 1.58).
OFFICE_PUE = 1.58


@dataclass(frozen=True, slots=True)
class WithNodes:
    """A book that also offers `nodes`, in a region of their own for each way to reach them."""

    book: Book
    nodes: Sequence[Node]
    today: date

    @property
    def snapshot(self) -> Snapshot:
        """The book's own: nodes have no vendor's price."""
        return self.book.snapshot

    def cpu_power(self) -> CpuPower:
        """Watts by CPU family, as in the book."""
        return self.book.cpu_power()

    @property
    def out_of_reach(self) -> OutOfReach:
        """As the book's: one's own machines know no quota."""
        return self.book.out_of_reach

    def types(self) -> list[tuple[int, int, InstanceType]]:
        """The book's types, and one for each node; ids and hardware ids go on from the book's."""
        types = list(self.book.types())
        first = self._first_type(types)
        first_hardware = max((hardware for _, hardware, _ in types), default=-1) + 1
        own = (
            (first + n, first_hardware + n, InstanceType(node.cloud, node.name, node.hardware))
            for n, node in enumerate(self.nodes)
        )
        return [*types, *own]

    def regions(self) -> dict[int, Region]:
        """The book's regions, and one for each way to reach a node."""
        regions = self.book.regions()
        first = max(regions, default=-1) + 1
        clouds = sorted({node.cloud for node in self.nodes})
        own = {first + n: Region(cloud, ON_PREM, pue=OFFICE_PUE) for n, cloud in enumerate(clouds)}
        return regions | own

    def price_rows(
        self,
        depth: int | None,
        region_ids: Collection[int] | None = None,
        type_ids: Collection[int] | None = None,
    ) -> list[PriceRow]:
        """The book's rows, then the nodes' (on demand: nobody takes them away)."""
        rows = list(self.book.price_rows(depth, region_ids, type_ids))
        first = self._first_type(self.book.types())
        places = {
            region.cloud: number
            for number, region in self.regions().items()
            if region.name == ON_PREM
        }
        for n, node in enumerate(self.nodes):
            place = places[node.cloud]
            if (region_ids is None or place in region_ids) and (
                type_ids is None or first + n in type_ids
            ):
                nano = int(node.price_per_hour_usd * NANO_PER_USD)
                rows.append((first + n, 0, place, nano, None, 0))
        return rows

    def prices_of(self, type_id: int, spot: int) -> Iterator[PriceRow]:
        """Every region's price of one type and market, cheapest first."""
        if type_id < self._first_type(self.book.types()):
            return iter(self.book.prices_of(type_id, spot))
        return (row for row in self.price_rows(1, None, [type_id]) if row[1] == spot)

    def offer(self, type_id: int, spot: int, region_id: int) -> Offer:
        """One offer in full; of a node, with how its price was derived as the source."""
        number = type_id - self._first_type(self.book.types())
        if number < 0:
            return self.book.offer(type_id, spot, region_id)
        node = self.nodes[number]
        return Offer(
            node.cloud,
            ON_PREM,
            node.name,
            Market.ON_DEMAND,
            node.price_per_hour_usd,
            self.today,
            node.how,
        )

    @staticmethod
    def _first_type(types: Sequence[tuple[int, int, InstanceType]]) -> int:
        return max((number for number, _, _ in types), default=-1) + 1
