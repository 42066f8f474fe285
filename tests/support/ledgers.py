"""Ledgers in a file and on a server, for tests that hold for both."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
from tests.support.postgres import Postgres

from mlbroker.broker.ledger import Ledger, team_storage
from mlbroker.broker.ledger.postgres_schema import migrate
from mlbroker.broker.ledger.postgres_server import Server
from mlbroker.broker.ledger.sqlite import SqliteStorage
from mlbroker.broker.ledger.storage import Storage


@dataclass
class LedgerFile:
    """In a state folder."""

    home: Path
    _made: int = 0

    def storage(self) -> Storage:
        return SqliteStorage(self.home / "ledger.db")

    def open(self) -> Ledger:
        return Ledger(self.storage())

    def afresh(self) -> Ledger:
        """Another one, in which there is nothing yet."""
        self._made += 1
        return Ledger(SqliteStorage(self.home / str(self._made) / "ledger.db"))

    def execute(self, *statements: str) -> None:
        """Past mlbroker, by whoever may write the database."""
        with closing(sqlite3.connect(self.home / "ledger.db")) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def unprotect(self) -> None:
        self.execute("DROP TRIGGER facts_stay", "DROP TRIGGER facts_keep")

    def set_version(self, version: int) -> None:
        self.execute(f"PRAGMA user_version = {version}")


@dataclass
class TeamLedger:
    """In a database of a server."""

    server: Postgres
    url: str

    def storage(self) -> Storage:
        return team_storage(self.url)

    def open(self) -> Ledger:
        return Ledger(self.storage())

    def afresh(self) -> Ledger:
        self.execute("DROP SCHEMA mlbroker CASCADE")
        migrate(Server.of(self.url), iter(()), ())
        return self.open()

    def execute(self, *statements: str) -> None:
        self.server.execute(self.url, "SET search_path = mlbroker", *statements)

    def unprotect(self) -> None:
        self.execute("DROP TRIGGER facts_stay ON facts")

    def set_version(self, version: int) -> None:
        self.execute(f"UPDATE head SET version = {version}")


Books = LedgerFile | TeamLedger
REFUSED = (sqlite3.IntegrityError, psycopg.errors.RaiseException)
