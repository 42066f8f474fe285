"""Opening the price book: the index is built on first use, then every read is cheap.

Nothing here imports pandas, numpy or pydantic: `plan` reads prices through this module alone.
"""

import json
import marshal
import sqlite3
from array import array
from collections.abc import Collection, Iterator, Sequence
from datetime import date
from decimal import Decimal
from functools import cached_property
from itertools import compress, groupby, islice
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mlbroker.broker.prices.index_schema import SHORTLIST_COLUMNS, SHORTLIST_DEPTH
from mlbroker.broker.prices.records import stale_before
from mlbroker.policies.quote import OutOfReach
from mlbroker.pricing.book import RegionPrice, Snapshot, TypeEntry
from mlbroker.pricing.offer import Gpu, Hardware, InstanceType, Market, Offer
from mlbroker.pricing.price_units import usd_from_nano
from mlbroker.pricing.region import Region


def open_book(
    home: Path, prices_file: Path | None = None, *, today: date | None = None
) -> "PriceBook":
    """The price book of this machine: embedded prices, under those fetched and imported.

    With `prices_file`, the prices of that file instead; hardware is still the book's own.
    What is stale is judged on `today`.
    """
    from mlbroker.broker.prices.index_cache import index_path

    today = today or date.today()
    path = index_path(home, prices_file, today)
    try:
        return PriceBook(path, today)
    except sqlite3.DatabaseError:
        # A damaged cache (a full disk, a copied folder) is built once more.
        path.unlink(missing_ok=True)
        return PriceBook(index_path(home, prices_file, today), today)


def has_index(home: Path) -> bool:
    """Whether a book was opened with this state folder: the first time takes seconds, and room."""
    return any((home / "prices").glob("*.sqlite"))


class PriceBook:
    """One immutable index. Types, regions and hardware are referred to by integer ids."""

    # What the account cannot have, the book itself knows nothing of.
    out_of_reach: OutOfReach = MappingProxyType({})

    def __init__(self, path: Path, today: date) -> None:
        # Read-only, and open to `browse`, which asks what a plan never asks.
        self.connection = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)
        self._today = today.toordinal()
        self.fresh_from = stale_before(today)
        self._meta: dict[str, str] = dict(self.connection.execute("SELECT key, value FROM meta"))

    def close(self) -> None:
        """Let go of the file; the book cannot be read afterwards."""
        self.connection.close()

    @property
    def notices(self) -> list[str]:
        """What the user should know about these prices: rows left out, columns missing."""
        notices: list[str] = json.loads(self._meta["notices"])
        return notices

    @property
    def origin(self) -> str:
        """Where the prices come from, in words."""
        return self._meta["origin"]

    @property
    def snapshot(self) -> Snapshot:
        """The identity of these prices and their dates; equal content has an equal id."""
        newest: dict[str, int] = {}
        oldest: dict[str, int] = {}
        offers = stale = 0
        for cloud, day, fresh_day, count in self.connection.execute(
            "SELECT cloud, day, fresh_day, offers FROM summary"
        ):
            newest[cloud] = max(newest.get(cloud, 0), day)
            oldest[cloud] = min(oldest.get(cloud, day), day)
            offers += count
            stale += count if fresh_day < self.fresh_from else 0
        return Snapshot(
            self._meta["snapshot"],
            {cloud: date.fromordinal(day) for cloud, day in newest.items()},
            {cloud: date.fromordinal(day) for cloud, day in oldest.items()},
            offers,
            stale,
        )

    def types(self) -> Sequence[TypeEntry]:
        """Every type with its ids; equal hardware is the same object."""
        return self._types

    @cached_property
    def _types(self) -> tuple[TypeEntry, ...]:
        _, boxes, types = self._machines
        gpus = self.gpus()
        # Spelt out: thousands are made in every plan, and a star costs as much as all the rest.
        hardware = [
            Hardware(
                vcpus,
                memory_gib,
                arch,
                cpu,
                None if gpu is None else gpus[gpu],
                count,
                bool(burstable),
                bool(metal),
                disk_gib,
                gbps,
                speed,
                threads,
                sockets,
            )
            for (
                vcpus, memory_gib, arch, cpu, gpu, count, burstable, metal, disk_gib, gbps, speed,
                threads, sockets,
            ) in boxes
        ]  # fmt: skip
        today = self._today
        return tuple(
            TypeEntry(
                type_id, hardware_id, InstanceType(cloud, name, hardware[hardware_id], day <= today)
            )
            for type_id, hardware_id, cloud, name, day in types
        )

    def gpus(self) -> list[Gpu]:
        """Every GPU model with its data-sheet figures."""
        return list(map(Gpu._make, self._machines[0]))

    @cached_property
    def _machines(self) -> tuple[list[tuple[Any, ...]], ...]:
        """Rows of GPUs, of hardware and of types."""
        (data,) = self.connection.execute("SELECT data FROM machines").fetchone()
        found: tuple[list[tuple[Any, ...]], ...] = marshal.loads(data)  # noqa: S302  # our own file
        return found

    def regions(self) -> dict[int, Region]:
        """Every region by its id."""
        regions = {}
        for row in self.connection.execute("SELECT * FROM region"):
            region_id, cloud, name, geography, country, *prices, grid, grid_source, pue = row
            disk, address, internet, near, far = map(_money, prices)
            regions[region_id] = Region(
                cloud, name, geography, country, disk, address, internet, near, far,
                grid, grid_source, pue,
            )  # fmt: skip
        return regions

    def cpu_power(self) -> dict[str, tuple[float, float]]:
        """CPU family -> watts of one virtual CPU at idle and at full load; `__default__` too."""
        return {
            cpu: (idle, full) for cpu, (idle, full) in json.loads(self._meta["cpu_power"]).items()
        }

    def core_speeds(self) -> dict[str, float]:
        """CPU family -> usual speed of one core, as `Hardware.core_speed` has it."""
        speeds: dict[str, float] = json.loads(self._meta["core_speeds"])
        return speeds

    def price_rows(
        self,
        depth: int | None,
        region_ids: Collection[int] | None = None,
        type_ids: Collection[int] | None = None,
    ) -> list[RegionPrice]:
        """Prices as plain rows, by type, market and price.

        `depth` keeps that many cheapest regions of each type and market, None keeps all;
        with `region_ids`, every price of those regions is given whatever `depth` says.
        """
        if region_ids is None and depth is not None and depth <= SHORTLIST_DEPTH:
            return self._shortlist(depth, type_ids)
        return self._query(depth if region_ids is None else None, region_ids, type_ids)

    def _shortlist(self, depth: int, type_ids: Collection[int] | None) -> list[RegionPrice]:
        data: dict[str, bytes] = dict(self.connection.execute("SELECT name, data FROM shortlist"))
        columns: dict[str, Any] = {}
        for name, code in SHORTLIST_COLUMNS:
            columns[name] = array(code)
            columns[name].frombytes(data[name])
        today = self._today
        rows: Iterator[tuple[Any, ...]] = zip(
            columns["type_id"],
            columns["spot"],
            columns["region_id"],
            columns["price_nano_usd"],
            [None if rate < 0 else rate for rate in columns["interruption_rate"]],
            [today - day for day in columns["fresh_day"]],
            strict=True,
        )
        if depth < SHORTLIST_DEPTH:
            rows = compress(rows, [rank <= depth for rank in columns["rank"]])
        prices = map(RegionPrice._make, rows)
        if type_ids is None:
            return list(prices)
        wanted = frozenset(type_ids)
        return [price for price in prices if price.type_id in wanted]

    def prices_of(self, type_id: int, spot: int) -> Iterator[RegionPrice]:
        """Every region's price of one type and market, cheapest first, read as they are taken."""
        rows = self.connection.execute(
            "SELECT type_id, spot, region_id, price_nano_usd, interruption_rate, ? - fresh_day"
            " FROM offer WHERE type_id = ? AND spot = ? ORDER BY price_nano_usd",
            (self._today, type_id, spot),
        )
        return map(RegionPrice._make, rows)

    def _query(
        self,
        depth: int | None,
        region_ids: Collection[int] | None,
        type_ids: Collection[int] | None,
    ) -> list[RegionPrice]:
        # Ids go in as one JSON array: no limit on their number, and no text built into the query.
        where, values = [], []
        for column, ids in (("region_id", region_ids), ("type_id", type_ids)):
            if ids is not None:
                where.append(f"{column} IN (SELECT value FROM json_each(?))")  # noqa: S608
                values.append(json.dumps(sorted(ids)))
        condition = f"WHERE {' AND '.join(where)}" if where else ""
        found = self.connection.execute(
            "SELECT type_id, spot, region_id, price_nano_usd, interruption_rate, ? - fresh_day"  # noqa: S608
            f" FROM offer {condition} ORDER BY type_id, spot, price_nano_usd, region_id",
            (self._today, *values),
        )
        rows = map(RegionPrice._make, found)
        if depth is None:
            return list(rows)
        groups = groupby(rows, key=attrgetter("offered"))
        return [row for _, regions in groups for row in islice(regions, depth)]

    def offer(self, type_id: int, spot: int, region_id: int) -> Offer:
        """Everything about one offer; KeyError when there is none."""
        row = self.connection.execute(
            "SELECT type.cloud, region.name, type.name, price_nano_usd, offer.day, source.name,"
            " fresh_day < ?, interruption_rate, term FROM offer JOIN type ON type.id = type_id"
            " JOIN region ON region.id = region_id JOIN source ON source.id = offer.source_id"
            " WHERE region_id = ? AND type_id = ? AND spot = ?",
            (self.fresh_from, region_id, type_id, spot),
        ).fetchone()
        if row is None:
            raise KeyError((type_id, spot, region_id))
        cloud, region, name, price, day, source, stale, rate, term = row
        if term:
            source = f"{source}, {term}"
        market = Market.SPOT if spot else Market.ON_DEMAND
        as_of = date.fromordinal(day)
        return Offer(
            cloud, region, name, market, usd_from_nano(price), as_of, source, bool(stale), rate
        )


def _money(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
