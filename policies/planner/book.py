"""What planning reads of a price book."""

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from mlbroker.policies.quote import OutOfReach
from mlbroker.pricing.book import RegionPrice, Snapshot, TypeEntry
from mlbroker.pricing.offer import Offer
from mlbroker.pricing.power import CpuPower
from mlbroker.pricing.region import Region


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
    @property
    def out_of_reach(self) -> OutOfReach:
        """Why the account cannot have what is sold; complete once the prices were read."""
        ...
