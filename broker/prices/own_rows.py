"""What this user's machine knows beyond the embedded book: prices imported and fetched.

`<home>/prices/own.sqlite` is the durable truth; the index is made from it and the embedded book.
Every change raises `generation`, which names the index that belongs to it.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from mlbroker.broker.prices.rows import PriceRow

if TYPE_CHECKING:  # opening a book that is already indexed should not load its writer
    from mlbroker.broker.prices.index import IndexWriter

FILE = "own.sqlite"
SCHEMA = """
CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY CHECK (id = 1), generation INTEGER);
INSERT OR IGNORE INTO state VALUES (1, 0);
CREATE TABLE IF NOT EXISTS imported (cloud TEXT, region TEXT, instance_type TEXT, spot INTEGER,
  price_nano_usd INTEGER NOT NULL, day INTEGER NOT NULL, source TEXT NOT NULL,
  stale INTEGER NOT NULL, imported_at TEXT NOT NULL, file TEXT NOT NULL,
  PRIMARY KEY (cloud, region, instance_type, spot)) WITHOUT ROWID;
"""


def generation(folder: Path) -> int:
    """The number of the user's present state; 0 when there is nothing beyond the book."""
    path = folder / FILE
    if not path.exists():
        return 0
    db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        row = db.execute("SELECT generation FROM state").fetchone()
    except sqlite3.OperationalError:  # created a moment ago, still without tables
        return 0
    finally:
        db.close()
    return int(row[0]) if row else 0


class OwnRows:
    """The user's rows, opened for reading and changing."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._db: sqlite3.Connection | None = None
        if self._path.exists():
            self._db = self._connect()

    def __enter__(self) -> "OwnRows":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._db:
            self._db.close()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, timeout=30)
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(SCHEMA)
        return db

    def fill(self, writer: "IndexWriter") -> None:
        """The whole book: embedded prices, under the user's own."""
        try:
            writer.add_embedded_offers()
            imported = list(self.imported())
            writer.add_offers(imported)
            origin = f"embedded and {len(imported)} imported" if imported else "embedded"
            writer.finish(origin)
        except BaseException:
            writer.abandon()
            raise

    def imported(self) -> Iterator[PriceRow]:
        """Every imported price."""
        if self._db is None:
            return
        for cloud, region, name, spot, price, day, source, stale in self._db.execute(
            "SELECT cloud, region, instance_type, spot, price_nano_usd, day, source, stale"
            " FROM imported"
        ):
            yield PriceRow(cloud, region, name, bool(spot), price, day, source, bool(stale))

    def add_imported(
        self, rows: Iterable[PriceRow], check: Callable[[], None], now: datetime, file: str
    ) -> None:
        """Keep the rows of a file, all or none; they win over every other price.

        `check` runs after the last row and may still refuse them all.
        """
        at = now.isoformat(timespec="seconds")
        with self._change() as db:
            db.executemany(
                "INSERT OR REPLACE INTO imported VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                ((*row[:8], at, file) for row in rows),
            )
            check()

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """One transaction that leaves either everything as it was or a new generation."""
        if self._db is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._db = self._connect()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            self._db.execute("UPDATE state SET generation = generation + 1")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
