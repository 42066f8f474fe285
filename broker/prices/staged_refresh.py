"""Taking fetched prices into the user's rows: staged first, judged together, kept all or none."""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from mlbroker.broker.prices import outliers
from mlbroker.broker.prices.feeds.interface import Batch, FeedError
from mlbroker.broker.prices.own_prices import Jump, OwnPrices, Refresh

# No vendor drops more than half of its machines in a region: such an answer was cut short.
MOST_GONE = 0.5
Key = tuple[str, str, str, int]  # cloud, region, type, spot
_ALL_TYPES = "*"
_STAGING = """
CREATE TEMP TABLE batch (cloud TEXT, region TEXT, instance_type TEXT, spot INTEGER,
  price INTEGER, day INTEGER, source TEXT,
  PRIMARY KEY (cloud, region, instance_type, spot)) WITHOUT ROWID;
CREATE TEMP TABLE cover (region TEXT, spot INTEGER, instance_type TEXT,
  PRIMARY KEY (region, spot, instance_type)) WITHOUT ROWID;
CREATE TEMP TABLE before (cloud TEXT, region TEXT, instance_type TEXT, spot INTEGER,
  price INTEGER, own INTEGER, PRIMARY KEY (cloud, region, instance_type, spot)) WITHOUT ROWID;
"""
_KEY = "cloud, region, instance_type, spot"
# Spelt out, because SQLite finds a row by its key this way and scans for `(…) IN (SELECT …)`.
_SAME = (
    "b.cloud = {0}.cloud AND b.region = {0}.region AND b.instance_type = {0}.instance_type"
    " AND b.spot = {0}.spot"
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a refresh of one cloud brought."""

    cloud: str
    prices: int
    withdrawn: int
    dishonest: int
    jumped: int


class StagedRefresh:
    """The batches of one cloud, gathered in temporary tables that lock nothing."""

    def __init__(self, own: OwnPrices, cloud: str) -> None:
        self._own = own
        self._cloud = cloud
        self._db = own.open()
        for table in ("batch", "cover", "before"):
            self._db.execute(f"DROP TABLE IF EXISTS temp.{table}")
        self._db.executescript(_STAGING)
        self._batches: list[Batch] = []
        self._dishonest = 0

    def add(self, batch: Batch) -> None:
        """One task's answer."""
        self._db.execute("BEGIN")
        self._db.executemany(
            "INSERT OR REPLACE INTO batch VALUES (?, ?, ?, ?, ?, ?, ?)",
            (row[:7] for row in batch.prices),
        )
        if not batch.unchanged:
            self._db.executemany(
                "INSERT OR IGNORE INTO cover VALUES (?, ?, ?)",
                (
                    (cover.region, cover.spot, name)
                    for cover in batch.covers
                    for name in (cover.types if cover.types is not None else (_ALL_TYPES,))
                ),
            )
        self._db.execute("COMMIT")
        self._dishonest += batch.dishonest
        # The prices are staged: only the small rest is kept in memory.
        self._batches.append(replace(batch, prices=()))

    def keep(self, index: Path, now: datetime, scope: str, accept: bool) -> Outcome:
        """Judge the staged prices and keep them, inside a `change` of the user's rows.

        `index` is the book as it was before; `accept` believes prices that jumped and answers
        that shrank.
        """
        day = now.date().toordinal()
        self._remember(index)
        gone = self._gone()
        if not accept:
            self._refuse_short_answers(gone)
        jumps = [] if accept else self._jumps()
        self._withdraw(gone, day)
        self._db.executemany("INSERT OR REPLACE INTO jumped VALUES (?, ?, ?, ?, ?, ?, ?, ?)", jumps)
        self._db.executemany(
            f"DELETE FROM batch WHERE ({_KEY}) = (?, ?, ?, ?)",  # noqa: S608  # constants
            (jump[:4] for jump in jumps),
        )
        prices = self._take()
        self._keep_the_rest(day)
        at = now.isoformat(timespec="seconds")
        self._own.record(
            Refresh(self._cloud, at, scope, prices, self._dishonest, len(jumps)),
            {b.url: b.validator for b in self._batches if b.url and b.validator},
        )
        return Outcome(self._cloud, prices, len(gone), self._dishonest, len(jumps))

    def _keep_the_rest(self, day: int) -> None:
        for batch in self._batches:
            if batch.unchanged:
                self._db.executemany(
                    "UPDATE fetched SET day = ? WHERE cloud = ? AND region = ? AND spot = ?",
                    ((day, self._cloud, cover.region, cover.spot) for cover in batch.covers),
                )
            self._own.add_types(batch.types)
            self._own.add_rates((self._cloud, *rate) for rate in batch.rates)

    def _remember(self, index: Path) -> None:
        """The last price of every offer of the cloud; the user's own imports are marked."""
        before = sqlite3.connect(f"{index.as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            rows: Iterable[tuple[object, ...]] = before.execute(
                "SELECT region.cloud, region.name, type.name, spot,"
                " coalesce(list_nano_usd, price_nano_usd) FROM offer"
                " JOIN region ON region.id = region_id JOIN type ON type.id = type_id"
                " WHERE region.cloud = ?",
                (self._cloud,),
            )
            self._db.executemany("INSERT INTO before VALUES (?, ?, ?, ?, ?, 0)", rows)
        finally:
            before.close()
        self._db.execute(
            f"UPDATE before SET own = 1 WHERE EXISTS (SELECT 1 FROM imported b"  # noqa: S608
            f" WHERE {_SAME.format('before')})"
        )

    def _jumps(self) -> list[Jump]:
        rows = self._db.execute(
            "SELECT b.cloud, b.region, b.instance_type, b.spot, b.price, p.price, b.day, b.source"
            " FROM batch b JOIN before p USING (cloud, region, instance_type, spot)"
            " WHERE p.own = 0"
        )
        found = [Jump(*row) for row in rows]
        return [j for j in found if outliers.jumped(j.price_nano_usd, j.before_nano_usd, j.spot)]

    def _gone(self) -> list[Key]:
        """What a cover should have and the batch has not: no longer sold."""
        return self._db.execute(
            "SELECT p.cloud, p.region, p.instance_type, p.spot FROM before p"
            " LEFT JOIN batch b USING (cloud, region, instance_type, spot)"
            " WHERE b.price IS NULL AND EXISTS (SELECT 1 FROM cover c WHERE c.region = p.region"
            " AND c.spot = p.spot AND c.instance_type IN (p.instance_type, ?))",
            (_ALL_TYPES,),
        ).fetchall()

    def _refuse_short_answers(self, gone: list[Key]) -> None:
        had: dict[tuple[str, int], int] = {
            (region, spot): count
            for region, spot, count in self._db.execute(
                "SELECT region, spot, count(*) FROM before GROUP BY region, spot"
            )
        }
        for (region, spot), lost in Counter((key[1], key[3]) for key in gone).items():
            if lost > had[region, spot] * MOST_GONE:
                market = "spot" if spot else "on-demand"
                raise FeedError(
                    f"{lost} of the book's {had[region, spot]} {market} prices of {region} are not"
                    " in it: the answer looks cut short",
                    where=self._cloud,
                    hint="Nothing was changed. If it is right, refresh with --accept.",
                )

    def _withdraw(self, gone: list[Key], day: int) -> None:
        for table in ("fetched", "jumped"):
            self._db.executemany(
                f"DELETE FROM {table} WHERE ({_KEY}) = (?, ?, ?, ?)",  # noqa: S608  # constants
                gone,
            )
        self._db.executemany(
            "INSERT OR REPLACE INTO withdrawn VALUES (?, ?, ?, ?, ?)", ((*key, day) for key in gone)
        )

    def _take(self) -> int:
        self._db.execute(
            "INSERT OR REPLACE INTO history"
            " SELECT b.cloud, b.region, b.instance_type, b.spot, b.day, b.price, b.source"
            " FROM batch b LEFT JOIN fetched f USING (cloud, region, instance_type, spot)"
            " WHERE f.price_nano_usd IS NOT b.price"
        )
        self._db.execute("INSERT OR REPLACE INTO fetched SELECT * FROM batch")
        taken = int(self._db.execute("SELECT count(*) FROM batch").fetchone()[0])
        for table in ("withdrawn", "jumped"):
            self._db.execute(
                f"DELETE FROM {table} WHERE EXISTS (SELECT 1 FROM batch b"  # noqa: S608
                f" WHERE {_SAME.format(table)})"
            )
        return taken
