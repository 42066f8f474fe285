"""Building the SQLite index that a plan reads: everything a plan asks for, laid out to be cheap.

The index is a cache: it is written aside, renamed into place and never changed afterwards.
"""

import hashlib
import json
import marshal
import sqlite3
from array import array
from collections.abc import Iterable, Iterator
from datetime import date
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mlbroker.broker.prices import machines, outliers
from mlbroker.broker.prices.index_schema import (
    MACHINES,
    MARSHAL,
    SCHEMA,
    SHORTLIST_COLUMNS,
    SHORTLIST_DEPTH,
)
from mlbroker.broker.prices.records import PriceRecord, TypeRecord
from mlbroker.pricing.vendors import vendor

if TYPE_CHECKING:  # most books are built without terms, and those need the YAML library
    from mlbroker.broker.prices.terms import Term

NEVER = 3_652_059  # ordinal of 9999-12-31: the retirement day of types on sale
UNKNOWN_HARDWARE = (0.0, 0.0, "unknown", None, None, 0.0, False, False, None, None)
# The place of the processor among these facts, in the order of the fields of `Hardware`.
CPU = 3


class IndexWriter:
    """Fills one index file; `finish` makes it complete."""

    def __init__(self, path: Path, document: dict[str, Any]) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        # No journal: a half-written file is thrown away, never repaired.
        self._db.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + SCHEMA)
        self._db.execute("BEGIN")
        self._sources: dict[str, int] = {}
        self._regions: dict[tuple[str, str], int] = {}
        self._types: dict[tuple[str, str], int] = {}
        self._hardware: dict[tuple[Any, ...], int] = {}
        self._rates: dict[tuple[int, int], float] = {}
        self._gpu_ids: dict[str, int] = {}
        self._document = document
        self._add_facts(document)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close, whether `finish` has completed it or not."""
        self._db.close()

    def _add_facts(self, document: dict[str, Any]) -> None:
        for name in document["sources"]:
            self._source(name)
        for gpu_id, gpu in enumerate(document["gpus"]):
            self._insert("gpu", gpu_id, *gpu)
            self._gpu_ids.setdefault(gpu[0], gpu_id)
        for cloud, name, facts, lifecycle, retired, source, day in document["types"]:
            hardware = self._hardware_id(cloud, name, tuple(document["hardware"][facts]))
            retired_day = date.fromisoformat(retired).toordinal() if retired else NEVER
            type_id = self._types.setdefault((cloud, name), len(self._types))
            ordinal = date.fromisoformat(day).toordinal()
            self._insert(
                "type", type_id, cloud, name, hardware, lifecycle, retired_day, source, ordinal
            )
        for row in document["regions"]:
            region_id = self._regions.setdefault((row[0], row[1]), len(self._regions))
            self._insert("region", region_id, *row)
        bands = document["interruption"]
        self._rates = dict(
            zip(zip(bands["type"], bands["region"], strict=True), bands["rate"], strict=True)
        )
        self._meta("cpu_power", json.dumps(document["cpu_power"]))
        self._meta("core_speeds", json.dumps(machines.core_speeds()))

    def add_embedded_offers(self) -> None:
        """The prices that ship with the package."""
        columns = self._document["offers"]
        days = [date.fromisoformat(day).toordinal() for day in columns["days"]]

        def rows() -> Iterator[tuple[Any, ...]]:
            type_id = 0
            for step, spot, region, price, day, source, stale in zip(
                columns["type_step"],
                columns["spot"],
                columns["region"],
                columns["price_nano_usd"],
                columns["day"],
                columns["source"],
                columns["stale"],
                strict=True,
            ):
                type_id += step
                rate = self._rates.get((type_id, region)) if spot else None
                fresh = 0 if stale else days[day]
                yield region, type_id, spot, price, rate, fresh, days[day], source, 0

        self._stage(rows())

    def withdraw(self, keys: Iterable[tuple[Any, ...]]) -> None:
        """Take embedded prices back: (cloud, region, type, spot, day), unless they are newer."""
        gone = [
            (self._regions[cloud, region], self._types[cloud, name], spot, day)
            for cloud, region, name, spot, day in keys
            if (cloud, region) in self._regions and (cloud, name) in self._types
        ]
        if gone:
            self._db.execute("CREATE TEMP TABLE gone (r INTEGER, t INTEGER, s INTEGER, d INTEGER)")
            self._db.executemany("INSERT INTO gone VALUES (?, ?, ?, ?)", gone)
            self._db.execute("CREATE INDEX gone_key ON gone (r, t, s)")
            self._db.execute(
                "DELETE FROM staging WHERE EXISTS (SELECT 1 FROM gone WHERE r = region_id"
                " AND t = type_id AND s = spot AND d >= day)"
            )

    def add_rates(self, rates: Iterable[tuple[Any, ...]]) -> None:
        """Interruption rates (cloud, region, type, rate) that are newer than the embedded ones."""
        for cloud, region, name, rate in rates:
            if (cloud, name) in self._types:
                self._rates[self._types[cloud, name], self._region(cloud, region)] = rate

    def add_types(self, types: Iterable[TypeRecord]) -> None:
        """Types beyond the embedded ones; those already known keep their facts."""
        for row in types:
            if (row.cloud, row.name) not in self._types:
                facts: list[Any] = list(row.hardware)
                facts[4] = self._gpu_id(*facts[4]) if facts[4] else None
                self._new_type(row.cloud, row.name, tuple(facts), row.source, row.day)

    def _gpu_id(self, model: str, memory_gib: float) -> int:
        """A GPU of the book by its model; one it lacks is taken in without figures."""
        if model not in self._gpu_ids:
            gpu_id = self._db.execute("SELECT count(*) FROM gpu").fetchone()[0]
            self._insert("gpu", gpu_id, model, memory_gib, None, None, None, None)
            self._gpu_ids[model] = gpu_id
        return self._gpu_ids[model]

    def add_offers(self, offers: Iterable[PriceRecord], first: bool = False) -> int:
        """Further prices; returns how many.

        For the same type, region and market the newest wins, of one day the last;
        those added as `first` win over all that are not.
        """
        types, rates = self._types, self._rates
        count = 0

        def rows() -> Iterator[tuple[Any, ...]]:
            for cloud, region, name, spot, price, day, source, stale, rate in offers:
                region_id = self._region(cloud, region)
                type_id = types.get((cloud, name))
                if type_id is None:
                    type_id = self._new_type(cloud, name, UNKNOWN_HARDWARE, source, day)
                if rate is None and spot:
                    rate = rates.get((type_id, region_id))
                fresh = 0 if stale else day
                source_id = self._source(source)
                yield region_id, type_id, spot, price, rate, fresh, day, source_id, first

        # Rows are gathered before the insert: new names are inserted while they are made.
        iterator = rows()
        while chunk := list(islice(iterator, 20_000)):
            self._stage(chunk)
            count += len(chunk)
        return count

    def finish(
        self, origin: str, notices: Iterable[str] = (), terms: Iterable["Term"] = ()
    ) -> None:
        """Sort, judge, rank, count and hash; the index is complete afterwards.

        Prices are judged as they are listed, and ranked as the user's `terms` make them.
        """
        columns = (
            "region_id, type_id, spot, price_nano_usd, interruption_rate, fresh_day, day, source_id"
        )
        self._db.execute(
            f"INSERT OR REPLACE INTO offer SELECT {columns}, NULL, NULL FROM staging"  # noqa: S608  # constants
            " ORDER BY region_id, type_id, spot, own, day, id"
        )
        self._db.execute("DROP TABLE staging")
        self._db.execute("CREATE INDEX offer_by_type ON offer (type_id, spot, price_nano_usd)")
        snapshot, odd = self._rank()
        self._db.executemany(
            "DELETE FROM offer WHERE region_id = ? AND type_id = ? AND spot = ?",
            (row[:3] for row in odd),
        )
        if self._apply(terms):
            self._db.execute("DELETE FROM shortlist")
            snapshot, _ = self._rank(judging=False)
        self._db.executemany("INSERT INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?, ?)", odd)
        self._db.execute(
            "INSERT INTO summary SELECT cloud, spot, source_id, day, fresh_day, count(*)"
            " FROM offer JOIN region ON region.id = region_id"
            " GROUP BY cloud, spot, source_id, day, fresh_day"
        )
        told = list(notices)
        if odd:
            told.append(
                f"too odd to be offered: {len(odd):,} of the prices; "
                "`mlbroker prices verify` lists them"
            )
        self._meta("snapshot", snapshot)
        self._meta("origin", origin)
        self._meta("notices", json.dumps(told))
        machines = [self._db.execute(query).fetchall() for query in MACHINES]
        self._insert("machines", marshal.dumps(machines, MARSHAL))
        self._db.execute("COMMIT")

    def _apply(self, terms: Iterable["Term"]) -> bool:
        """Let the best matching term make each price; whether there was any."""
        best: dict[tuple[int, int, int], tuple[int, int, str]] = {}
        for term in terms:
            for (cloud, name), type_id in self._types.items():
                if cloud != term.cloud or not term.admits(name):
                    continue
                for region_id, spot, price in self._db.execute(
                    "SELECT region_id, spot, price_nano_usd FROM offer WHERE type_id = ?",
                    (type_id,),
                ):
                    if spot not in term.markets or (
                        term.region is not None
                        and self._regions.get((cloud, term.region)) != region_id
                    ):
                        continue
                    mine, key = term.price(price), (region_id, type_id, spot)
                    if mine < best.get(key, (price,))[0]:
                        best[key] = (mine, price, term.name)
        self._db.executemany(
            "UPDATE offer SET price_nano_usd = ?, list_nano_usd = ?, term = ?"
            " WHERE region_id = ? AND type_id = ? AND spot = ?",
            ((*price, *key) for key, price in best.items()),
        )
        return bool(best)

    def _rank(self, judging: bool = True) -> tuple[str, list[tuple[Any, ...]]]:
        """Write the shortlist; returns the content's hash and the prices that cannot be right."""
        digest = hashlib.sha256()
        for table in ("source", "gpu", "hardware", "type", "region"):
            facts = self._db.execute(f"SELECT * FROM {table} ORDER BY id")  # noqa: S608  # our names
            digest.update(repr(facts.fetchall()).encode())
        columns: list[array[Any]] = [array(code) for _, code in SHORTLIST_COLUMNS]
        odd: list[tuple[Any, ...]] = []
        cursor = self._db.execute(
            "SELECT type_id, spot, region_id, price_nano_usd, interruption_rate, fresh_day, day,"
            " source_id, term FROM offer ORDER BY type_id, spot, price_nano_usd, region_id"
        )
        for (type_id, spot), group in groupby(cursor, key=itemgetter(0, 1)):
            rows = list(group)
            digest.update(repr(rows).encode())
            believable = outliers.band([row[3] for row in rows], spot) if judging else None
            if believable and not believable[0] <= rows[0][3] <= rows[-1][3] <= believable[1]:
                low, high = believable
                odd += [
                    (row[2], type_id, spot, row[3], row[6], row[7], low, high)
                    for row in rows
                    if not low <= row[3] <= high
                ]
                rows = [row for row in rows if low <= row[3] <= high]
            for rank, row in enumerate(rows[:SHORTLIST_DEPTH], start=1):
                rate = -1.0 if row[4] is None else row[4]
                facts_of_row = (rank, type_id, spot, row[2], row[3], rate, row[5])
                for column, value in zip(columns, facts_of_row, strict=True):
                    column.append(value)
        for (name, _), column in zip(SHORTLIST_COLUMNS, columns, strict=True):
            self._db.execute("INSERT INTO shortlist VALUES (?, ?)", (name, column.tobytes()))
        return digest.hexdigest()[:16], odd

    def _stage(self, rows: Iterable[tuple[Any, ...]]) -> None:
        self._db.executemany("INSERT INTO staging VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def _insert(self, table: str, *values: Any) -> None:
        marks = ", ".join("?" * len(values))
        self._db.execute(f"INSERT INTO {table} VALUES ({marks})", values)  # noqa: S608  # our names

    def _meta(self, key: str, value: str) -> None:
        self._insert("meta", key, value)

    def _source(self, name: str) -> int:
        known = self._sources.get(name)
        if known is None:
            known = self._sources[name] = len(self._sources)
            self._insert("source", known, name)
        return known

    def _hardware_id(self, cloud: str, name: str, facts: tuple[Any, ...]) -> int:
        """Of what the vendor states, under what was found on such a machine."""
        found = machines.of_type(cloud, name)
        cpu = found.cpu or facts[CPU]
        speed, credits = machines.core_speeds().get(cpu or ""), vendor(cloud).credits(name)
        if credits is not None and not credits.at_launch:
            # All that it has from its start on.
            speed = round((speed or 1.0) * credits.baseline, 4)
        measured = (speed, found.threads_per_core, found.sockets)
        facts = (*facts[:CPU], cpu, *facts[CPU + 1 :], *measured)
        known = self._hardware.get(facts)
        if known is None:
            known = self._hardware[facts] = len(self._hardware)
            self._insert("hardware", known, *facts)
        return known

    def _new_type(
        self, cloud: str, name: str, hardware: tuple[Any, ...], source: str, day: int
    ) -> int:
        type_id = self._types[cloud, name] = len(self._types)
        hardware_id, source_id = self._hardware_id(cloud, name, hardware), self._source(source)
        self._insert("type", type_id, cloud, name, hardware_id, "listed", NEVER, source_id, day)
        return type_id

    def _region(self, cloud: str, name: str) -> int:
        known = self._regions.get((cloud, name))
        if known is None:
            known = self._regions[cloud, name] = len(self._regions)
            self._insert("region", known, cloud, name, *[None] * 10)
        return known
