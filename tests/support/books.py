"""A price book in memory, for tests that want to know every price in it."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from mlbroker.policies.quote import OutOfReach
from mlbroker.pricing.book import RegionPrice, Snapshot, TypeEntry
from mlbroker.pricing.offer import Hardware, InstanceType, Market, Offer
from mlbroker.pricing.power import CpuPower
from mlbroker.pricing.region import Region

DAY = date(2026, 11, 1)
NANO = 10**9


@dataclass(frozen=True)
class SmallBook:
    """Types, regions and prices: `prices[type, region, market]` in USD per hour.

    `rates` are the monthly interruption shares of spot prices, None (unknown) where absent; `ages`
    are the days that prices are old, 0 where absent.
    """

    kinds: Sequence[InstanceType]
    places: Sequence[Region]
    prices: dict[tuple[int, int, Market], str]
    rates: dict[tuple[int, int], float]
    ages: dict[tuple[int, int, Market], int] = field(default_factory=dict)

    @property
    def snapshot(self) -> Snapshot:
        clouds = {place.cloud: DAY for place in self.places}
        return Snapshot("small", clouds, clouds, len(self.prices), 0)

    def types(self) -> list[TypeEntry]:
        hardware: dict[Hardware, int] = {}
        return [
            TypeEntry(number, hardware.setdefault(kind.hardware, len(hardware)), kind)
            for number, kind in enumerate(self.kinds)
        ]

    @property
    def out_of_reach(self) -> OutOfReach:
        return {}

    def regions(self) -> dict[int, Region]:
        return dict(enumerate(self.places))

    def price_rows(
        self,
        depth: int | None,
        region_ids: Collection[int] | None = None,
        type_ids: Collection[int] | None = None,
    ) -> list[RegionPrice]:
        rows = sorted(
            RegionPrice(kind, int(market is Market.SPOT), place, int(Decimal(usd) * NANO),
             self.rates.get((kind, place)), self.ages.get((kind, place, market), 0))
            for (kind, place, market), usd in self.prices.items()
            if (region_ids is None or place in region_ids)
            and (type_ids is None or kind in type_ids)
        )  # fmt: skip
        rows.sort(key=lambda row: (row.type_id, row.spot, row.nano_usd_per_hour, row.region_id))
        if depth is None or region_ids is not None:
            return rows
        kept: list[RegionPrice] = []
        for row in rows:
            if sum(other.offered == row.offered for other in kept) < depth:
                kept.append(row)
        return kept

    def prices_of(self, type_id: int, spot: int) -> Iterator[RegionPrice]:
        return (row for row in self.price_rows(None, None, [type_id]) if row.spot == spot)

    def offer(self, type_id: int, spot: int, region_id: int) -> Offer:
        market = Market.SPOT if spot else Market.ON_DEMAND
        kind, place = self.kinds[type_id], self.places[region_id]
        return Offer(
            kind.cloud,
            place.name,
            kind.name,
            market,
            Decimal(self.prices[type_id, region_id, market]),
            DAY,
            "test",
            interruption_rate=self.rates.get((type_id, region_id)) if spot else None,
        )

    def cpu_power(self) -> CpuPower:
        return {"__default__": (1.0, 3.0)}

    def core_speeds(self) -> dict[str, float]:
        return {"Ice Lake": 1.0}
