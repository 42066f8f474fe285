"""Facts in one SQLite file: write-ahead log, synchronous=FULL, append-only by trigger.

Writers queue on a lock file before they open a transaction. The kernel wakes them one by one,
so a thousand writers never see "database is locked", and a killed writer frees its place at once.
"""

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from mlbroker.broker.errors import RefusedError
from mlbroker.broker.home import present, private_home
from mlbroker.broker.ledger.facts import (
    GENESIS,
    Account,
    Break,
    Fact,
    LedgerError,
    canonical,
    chain_hash,
    first_break,
    read_rows,
)
from mlbroker.broker.ledger.state import OPENINGS, State
from mlbroker.broker.ledger.whereabouts import settle_in, why_copy

VERSION = 1

_SCHEMA = """
CREATE TABLE facts (
  seq INTEGER PRIMARY KEY, at TEXT NOT NULL, run_id TEXT NOT NULL, kind TEXT NOT NULL,
  body TEXT NOT NULL, hash TEXT NOT NULL) STRICT;
CREATE INDEX facts_by_run ON facts (run_id, seq);
CREATE TRIGGER facts_stay BEFORE UPDATE ON facts BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER facts_keep BEFORE DELETE ON facts BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TABLE accounts (
  run_id TEXT PRIMARY KEY, user TEXT NOT NULL, project TEXT, at TEXT NOT NULL,
  open INTEGER NOT NULL, usd TEXT NOT NULL) STRICT, WITHOUT ROWID;
"""
# `accounts` repeats what the facts say, so that a cap is checked without reading all history.
_COLUMNS = "seq, at, run_id, kind, body, hash"
_OF_MARKET = """WHERE run_id IN
  (SELECT run_id FROM facts WHERE kind = ? AND json_extract(body, '$.market') = ?)"""
_COUNTING = " AND run_id IN (SELECT run_id FROM accounts WHERE open OR at >= ?)"
_BUSY_S = 60.0
_LEAST_FREE_BYTES = 100_000


class SqliteStorage:
    """One ledger file. Connections are opened per use, so that forks and threads are harmless."""

    team = None

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._owner = 0
        self._settled_in = False

    @contextmanager
    def write(self, adopt: bool = False) -> Iterator["_SqliteTransaction"]:
        """One durable transaction; an exception inside rolls it back."""
        with self._errors():
            private_home(self._path.parent)
            with self._turn():
                connection = self._open(create=True)
                connection.execute("BEGIN IMMEDIATE")
                try:
                    if adopt or not self._settled_in:
                        settle_in(connection, self._path, adopt)
                    yield _SqliteTransaction(connection)
                    connection.execute("COMMIT")
                    self._settled_in = True
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read inside the block is of one moment."""
        connection = None
        with suppress(sqlite3.DatabaseError):  # of damage, whoever reads on is told
            connection = self._reading()
        if connection is None or connection.in_transaction:
            yield
            return
        with suppress(sqlite3.DatabaseError):
            connection.execute("BEGIN")
        try:
            yield
        finally:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")

    def rows(self) -> Iterator[tuple[int, str, str, str, str, str]]:
        """All facts as they are stored and hashed: seq, at, run_id, kind, body, hash."""
        with self._errors():
            connection = self._reading()
            if connection is not None:
                yield from connection.execute(f"SELECT {_COLUMNS} FROM facts ORDER BY seq")  # noqa: S608

    def facts(self, run_id: str | None = None) -> Iterator[Fact]:
        """All facts in order, or one run's."""
        with self._errors():
            connection = self._reading()
            if connection is None:
                return
            where, values = ("", ()) if run_id is None else ("WHERE run_id = ?", (run_id,))
            yield from _facts(connection, where, *values)

    def facts_of_market(self, market: str) -> Iterator[Fact]:
        """The facts of the runs that asked for a machine on this market, in order."""
        with self._errors():
            connection = self._reading()
            if connection is not None:
                yield from _facts(connection, _OF_MARKET, State.INTENDED, market)

    def facts_of_kinds(self, kinds: Sequence[str], since: datetime | None) -> Iterator[Fact]:
        """Facts of these kinds in order: of all runs, or of those that count `since` then, and of
        those that are open."""
        with self._errors():
            connection = self._reading()
            if connection is None:
                return
            where, values = f"WHERE kind IN ({', '.join('?' * len(kinds))})", [*map(str, kinds)]
            if since is not None:
                where, values = where + _COUNTING, [*values, since.isoformat()]
            yield from _facts(connection, where, *values)

    def openings(self) -> list[Fact]:
        """The facts that open runs, in order."""
        with self._errors():
            connection = self._reading()
            return [] if connection is None else _openings(connection)

    def accounts(self, only_open: bool = False) -> list[Account]:
        """What every run holds of the caps, or every open one, as kept beside the facts."""
        with self._errors():
            connection = self._reading()
            where = "WHERE open" if only_open else ""
            return [] if connection is None else _accounts(connection, where)

    def why_copy(self) -> RefusedError | None:
        """Why nothing may be written here while runs are open: it is another ledger's copy."""
        with self._errors():
            connection = self._reading()
            return None if connection is None else why_copy(connection, self._path)

    def verify(self) -> Break | None:
        """The first damage found, in the file's pages or in the chain of hashes."""
        try:
            connection = self._reading()
            if connection is None:
                return None
            (answer,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            if answer != "ok":
                return Break(0, f"the file is damaged: {answer}")
            rows = connection.execute(f"SELECT {_COLUMNS} FROM facts ORDER BY seq")  # noqa: S608
            return first_break(rows)
        except sqlite3.DatabaseError as error:
            return Break(0, f"the file is damaged: {error}")

    def head(self) -> tuple[int, str]:
        """Number and hash of the last fact: note it down to prove later that nothing was cut."""
        with self._errors():
            connection = self._reading()
            return (0, GENESIS) if connection is None else _head(connection)

    def close(self) -> None:
        """Give the file back."""
        if self._connection is not None and self._owner == os.getpid():
            self._connection.close()
        self._connection = None

    def _reading(self) -> sqlite3.Connection | None:
        """None while there is no ledger, or one whose first writer died before its tables."""
        if not present(self._path):
            return None
        connection = self._open()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        return connection if tables else None

    def _open(self, create: bool = False) -> sqlite3.Connection:
        # SQLite handles must not cross a fork.
        if self._connection is not None and self._owner == os.getpid():
            return self._connection
        new = create and not present(self._path)
        if new:
            # Its log and the log's index take after it. Only one that is not there is opened beside
            # SQLite: closing a file drops all locks that the process has on it, those of other
            # threads' connections too (sqlite.org/howtocorrupt.html, section 2.2).
            with suppress(FileExistsError):
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        if create and self._path.stat().st_mode & 0o077:
            self._path.chmod(0o600)
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            connection.close()
            raise LedgerError(
                f"the ledger has format {version}; this mlbroker knows up to {VERSION}",
                where=str(self._path),
                hint="A newer mlbroker wrote it: upgrade this one. Nothing was launched.",
            )
        connection.execute("PRAGMA synchronous=FULL")
        if new or (create and version == 0):
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version={VERSION};COMMIT;")
        self._connection, self._owner = connection, os.getpid()
        return connection

    @contextmanager
    def _turn(self) -> Iterator[None]:
        lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except (sqlite3.DatabaseError, OSError) as error:
            self.close()
            raise LedgerError(
                f"cannot use the ledger: {error}",
                where=str(self._path),
                hint=_remedy(error, self._path.parent),
            ) from error


def _remedy(error: Exception, folder: Path) -> str:
    text = str(error).lower()
    # SQLite calls it an I/O error when it is the log's index that finds no room.
    if "full" in text or "no space" in text or _free_bytes(folder) < _LEAST_FREE_BYTES:
        return "The disk is full: free some space and try again. Nothing is launched without it."
    if any(word in text for word in ("read-only", "readonly", "permission", "unable to open")):
        return "Make the folder writable, or set MLBROKER_HOME to one that is."
    return "`mlbroker ledger verify` shows what is damaged; restore a backup."


def _free_bytes(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return _LEAST_FREE_BYTES


class _SqliteTransaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def facts(self, run_id: str) -> list[Fact]:
        return list(_facts(self._connection, "WHERE run_id = ?", run_id))

    def openings(self) -> list[Fact]:
        return _openings(self._connection)

    def accounts(self, since: datetime) -> list[Account]:
        # An open reservation counts whenever it was made.
        return _accounts(self._connection, "WHERE open OR at >= ?", since.isoformat())

    def open_runs(self) -> list[str]:
        rows = self._connection.execute("SELECT run_id FROM accounts WHERE open").fetchall()
        return [run_id for (run_id,) in rows]

    def latest_account(self) -> datetime | None:
        """The time of the run that counts latest, whenever it was written."""
        (latest,) = self._connection.execute("SELECT max(at) FROM accounts").fetchone()
        return datetime.fromisoformat(latest) if latest else None

    def moment(self, at: datetime) -> datetime:
        return at

    def append(self, at: datetime, run_id: str, kind: str, body: Mapping[str, Any]) -> Fact:
        last, previous = _head(self._connection)
        seq, moment, text = last + 1, at.isoformat(), canonical(body)
        hash_ = chain_hash(previous, seq, moment, run_id, kind, text)
        self._connection.execute(
            "INSERT INTO facts VALUES (?, ?, ?, ?, ?, ?)", (seq, moment, run_id, kind, text, hash_)
        )
        return Fact(seq, at, run_id, kind, body, hash_)

    def put_account(self, account: Account) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO accounts VALUES (:run_id, :user, :project, :at, :open, :usd)",
            asdict(account) | {"at": account.at.isoformat(), "usd": str(account.usd)},
        )


def _facts(connection: sqlite3.Connection, where: str, *values: str) -> Iterator[Fact]:
    query = f"SELECT {_COLUMNS} FROM facts {where} ORDER BY seq"  # noqa: S608  # constants
    yield from read_rows(connection.execute(query, values))


def _openings(connection: sqlite3.Connection) -> list[Fact]:
    kinds = f"WHERE kind IN ({', '.join('?' * len(OPENINGS))})"
    return list(_facts(connection, kinds, *OPENINGS))


def _head(connection: sqlite3.Connection) -> tuple[int, str]:
    row = connection.execute("SELECT seq, hash FROM facts ORDER BY seq DESC LIMIT 1").fetchone()
    return row or (0, GENESIS)


def _accounts(connection: sqlite3.Connection, where: str, *values: str) -> list[Account]:
    query = f"SELECT run_id, user, project, at, open, usd FROM accounts {where}"  # noqa: S608
    return [
        Account(run_id, user, project, datetime.fromisoformat(at), bool(is_open), Decimal(usd))
        for run_id, user, project, at, is_open, usd in connection.execute(query, values)
    ]
