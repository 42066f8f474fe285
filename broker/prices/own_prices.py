"""What this user's machine knows beyond the embedded book: prices imported and fetched.

`<home>/prices/own.sqlite` is the durable truth; the index is made from it and the embedded book.
Every change raises `generation`, which names the index that belongs to it.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.home import present, private_folder
from mlbroker.broker.prices.records import PriceRecord, TypeRecord

if TYPE_CHECKING:  # opening a book that is already indexed should not load its writer
    from mlbroker.broker.prices.index_writer import IndexWriter
    from mlbroker.broker.prices.terms import Term

FILE = "own.sqlite"
SCHEMA = """
CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY CHECK (id = 1), generation INTEGER);
INSERT OR IGNORE INTO state VALUES (1, 0);
CREATE TABLE IF NOT EXISTS imported (cloud TEXT, region TEXT, instance_type TEXT, spot INTEGER,
  price_nano_usd INTEGER NOT NULL, day INTEGER NOT NULL, source TEXT NOT NULL,
  stale INTEGER NOT NULL, imported_at TEXT NOT NULL, file TEXT NOT NULL,
  PRIMARY KEY (cloud, region, instance_type, spot)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fetched (cloud TEXT, region TEXT, instance_type TEXT, spot INTEGER,
  price_nano_usd INTEGER NOT NULL, day INTEGER NOT NULL, source TEXT NOT NULL,
  PRIMARY KEY (cloud, region, instance_type, spot)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS withdrawn (cloud TEXT, region TEXT, instance_type TEXT, spot INTEGER,
  day INTEGER NOT NULL, PRIMARY KEY (cloud, region, instance_type, spot)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS jumped (cloud TEXT, region TEXT, instance_type TEXT, spot INTEGER,
  price_nano_usd INTEGER NOT NULL, before_nano_usd INTEGER NOT NULL, day INTEGER NOT NULL,
  source TEXT NOT NULL, PRIMARY KEY (cloud, region, instance_type, spot)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (cloud TEXT, region TEXT, instance_type TEXT, spot INTEGER,
  day INTEGER, price_nano_usd INTEGER NOT NULL, source TEXT NOT NULL,
  PRIMARY KEY (cloud, instance_type, region, spot, day)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS type (cloud TEXT, name TEXT, hardware TEXT NOT NULL,
  day INTEGER NOT NULL, source TEXT NOT NULL, PRIMARY KEY (cloud, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rate (cloud TEXT, region TEXT, instance_type TEXT, rate REAL NOT NULL,
  PRIMARY KEY (cloud, region, instance_type)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS validator (url TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS refresh (cloud TEXT PRIMARY KEY, at TEXT NOT NULL, scope TEXT NOT NULL,
  prices INTEGER NOT NULL, dishonest INTEGER NOT NULL, jumped INTEGER NOT NULL);
"""


class Jump(NamedTuple):
    """A fetched price too far from the last one to be believed; the last one still stands."""

    cloud: str
    region: str
    instance_type: str
    spot: bool
    price_nano_usd: int
    before_nano_usd: int
    day: int
    source: str


class Refresh(NamedTuple):
    """When a cloud's prices were last fetched, and what came of it."""

    cloud: str
    at: str
    scope: str
    prices: int
    dishonest: int
    jumped: int


class Past(NamedTuple):
    """A price that held from `day` on."""

    cloud: str
    region: str
    spot: bool
    day: int
    price_nano_usd: int
    source: str


def generation(folder: Path) -> int:
    """The number of the user's present state; 0 when there is nothing beyond the book."""
    path = folder / FILE
    if not present(path):
        return 0
    db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=30)
    try:
        row = db.execute("SELECT generation FROM state").fetchone()
    except sqlite3.OperationalError:  # created a moment ago, still without tables
        return 0
    except sqlite3.DatabaseError as error:
        raise MlbrokerError(
            f"the prices fetched and imported here cannot be read: {error}",
            where=str(path),
            hint="Move the file away to go on with the embedded book; then refresh and import.",
        ) from None
    finally:
        db.close()
    return int(row[0]) if row else 0


class OwnPrices:
    """The user's rows, opened for reading and changing."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._db: sqlite3.Connection | None = None
        if present(self._path):
            self._db = self._connect()

    def __enter__(self) -> "OwnPrices":
        return self

    def __exit__(self, *_: object) -> None:
        if self._db:
            self._db.close()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, timeout=30)
        # Readers go on while a refresh writes; what was acknowledged survives a power cut.
        db.execute("PRAGMA journal_mode=WAL")
        if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
        return db

    def open(self) -> sqlite3.Connection:
        """The database, made if need be."""
        if self._db is None:
            private_folder(str(self._path.parent))
            self._db = self._connect()
        return self._db

    def fill(self, writer: "IndexWriter", terms: Sequence["Term"] = ()) -> None:
        """The whole book: embedded prices, under those fetched, under those imported.

        Of an embedded and a fetched price for the same offer the newer one holds.
        """
        writer.add_types(self._types())
        writer.add_rates(self._query("SELECT cloud, region, instance_type, rate FROM rate"))
        writer.add_embedded_offers()
        writer.withdraw(
            self._query("SELECT cloud, region, instance_type, spot, day FROM withdrawn")
        )
        columns = "cloud, region, instance_type, spot, price_nano_usd, day, source"
        fetched = writer.add_offers(self._prices(f"SELECT {columns} FROM fetched"))  # noqa: S608
        own = self._prices(f"SELECT {columns}, stale FROM imported")  # noqa: S608
        imported = writer.add_offers(own, first=True)
        parts = ["embedded"]
        parts += [f"{fetched:,} fetched"] if fetched else []
        parts += [f"{imported:,} imported"] if imported else []
        parts += ["the user's own terms"] if terms else []
        writer.finish(" + ".join(parts), terms=terms)

    def _query(self, sql: str, values: tuple[object, ...] = ()) -> Iterator[tuple[Any, ...]]:
        return iter(()) if self._db is None else self._db.execute(sql, values)

    def _prices(self, sql: str) -> Iterator[PriceRecord]:
        return (PriceRecord(*row) for row in self._query(sql))

    def _types(self) -> Iterator[TypeRecord]:
        for cloud, name, hardware, day, source in self._query("SELECT * FROM type"):
            yield TypeRecord(cloud, name, tuple(json.loads(hardware)), day, source)

    def validators(self) -> dict[str, str]:
        """Address -> what to send along to hear only of changes."""
        return dict(self._query("SELECT * FROM validator"))

    def jumps(self) -> list[Jump]:
        """The fetched prices that were not believed."""
        return [Jump(*row) for row in self._query("SELECT * FROM jumped")]

    def refreshes(self) -> list[Refresh]:
        """The last refresh of each cloud."""
        return [Refresh(*row) for row in self._query("SELECT * FROM refresh")]

    def past(self, instance_type: str) -> list[Past]:
        """The prices a type has had since they are fetched here, newest first."""
        query = (
            "SELECT cloud, region, spot, day, price_nano_usd, source FROM history"
            " WHERE instance_type = ? ORDER BY cloud, region, spot, day DESC"
        )
        return [Past(*row) for row in self._query(query, (instance_type,))]

    def add_imported(
        self, rows: Iterable[PriceRecord], check: Callable[[], None], now: datetime, file: str
    ) -> None:
        """Keep the rows of a file, inside a `change`; they win over every other price.

        `check` runs after the last row and may still refuse them all.
        """
        at = now.isoformat(timespec="seconds")
        self.open().executemany(
            "INSERT OR REPLACE INTO imported VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((*row[:8], at, file) for row in rows),
        )
        check()

    def add_types(self, rows: Iterable[TypeRecord]) -> None:
        """Keep types the book lacks, inside a `change`."""
        self.open().executemany(
            "INSERT OR REPLACE INTO type VALUES (?, ?, ?, ?, ?)",
            ((r.cloud, r.name, json.dumps(r.hardware), r.day, r.source) for r in rows),
        )

    def add_rates(self, rows: Iterable[tuple[str, str, str, float]]) -> None:
        """Keep interruption rates (cloud, region, type, rate), inside a `change`."""
        self.open().executemany("INSERT OR REPLACE INTO rate VALUES (?, ?, ?, ?)", rows)

    def record(self, refresh: Refresh, validators: Mapping[str, str]) -> None:
        """Note that a cloud was refreshed, inside a `change`."""
        db = self.open()
        db.execute("INSERT OR REPLACE INTO refresh VALUES (?, ?, ?, ?, ?, ?)", refresh)
        db.executemany("INSERT OR REPLACE INTO validator VALUES (?, ?)", validators.items())

    def forget(self, imported: bool, fetched: bool) -> None:
        """Drop what was imported or fetched, inside a `change`; the history of prices stays."""
        tables = ["imported"] if imported else []
        if fetched:
            tables += ["fetched", "withdrawn", "jumped", "type", "rate", "validator", "refresh"]
        for table in tables:
            self.open().execute(f"DELETE FROM {table}")  # noqa: S608  # our own names

    @contextmanager
    def change(self) -> Iterator[int]:
        """One transaction that leaves everything as it was, or a new generation, which it gives."""
        db = self.open()
        db.execute("BEGIN IMMEDIATE")
        try:
            db.execute("UPDATE state SET generation = generation + 1")
            yield int(db.execute("SELECT generation FROM state").fetchone()[0])
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")
