"""The PostgreSQL server of a team's ledger: its URL, its connections, and what its errors mean.

The URL may hold a password. It is kept here, and no error repeats it.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlbroker.broker.errors import InputError
from mlbroker.broker.extras import how_to_install
from mlbroker.broker.home import POSTGRES, TEAM_LEDGER
from mlbroker.broker.ledger.facts import LedgerError

if TYPE_CHECKING:
    from psycopg import Connection, Error
    from psycopg.rows import TupleRow

_EXAMPLE = "Write postgresql://USER@HOST/DATABASE, the password in ~/.pgpass."
_NOT_READ = (
    f"{_EXAMPLE} One that has to stand in the URL is percent-encoded: %40 for @, %2F for a slash."
)

# A server that is gone is noticed in half a minute, also in the middle of an answer.
_CONNECTING = {
    "application_name": "mlbroker",
    "client_encoding": "utf8",
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}
# Who waits for the ledger's lock waits for others' commits; who holds it and stands still (Ctrl-Z)
# loses it before those who wait give up.
_SESSION = """
SELECT set_config('timezone', 'UTC', false),
  set_config('search_path', 'pg_catalog', false),
  set_config('lock_timeout', '30s', false),
  set_config('statement_timeout', '60s', false),
  set_config('idle_in_transaction_session_timeout', '15s', false),
  set_config('synchronous_commit', CASE current_setting('synchronous_commit')
    WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)
"""
# The server takes back a connection that a run's long-lived driver does not use (PostgreSQL 14+).
_IDLE = "SELECT set_config('idle_session_timeout', '60s', false)"

_REST = "`mlbroker ledger verify` shows what is damaged."
_DOWN = "Is the database up, and does this machine reach it? Nothing is launched without it."
_REMEDIES = {
    "25006": "It is a standby, which only reads: name the primary.",
    "42501": "The ledger's owner gives the rights: mlbroker ledger migrate --writer ROLE",
    "53100": "The database's disk is full: free some space. Nothing is launched without it.",
    "53300": "Raise max_connections of the server, or put a session pool before it.",
    "55P03": "Somebody holds the ledger's lock: see pg_stat_activity. Nothing was launched.",
    "57014": "The server took too long: see pg_stat_activity. Nothing was launched.",
}
_NO_LEDGER = frozenset({"3F000", "42P01"})


@dataclass(frozen=True, slots=True)
class Server:
    """One database. `name` is how it is shown: user, host, port and database."""

    name: str
    _url: str = field(repr=False)
    _secrets: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, url: str, where: str = TEAM_LEDGER) -> "Server":
        """InputError for what is no URL, or where the library is not installed."""
        if not url.startswith(POSTGRES):
            raise InputError("is no PostgreSQL URL", where=where, hint=_EXAMPLE)
        try:
            import psycopg
            from psycopg.conninfo import conninfo_to_dict
        except ImportError:
            raise InputError(
                "a ledger on PostgreSQL needs psycopg, which is not installed",
                where=where,
                hint=how_to_install("postgres"),
            ) from None
        try:
            # What it says of a malformed one may hold the password.
            given = {name: str(value) for name, value in conninfo_to_dict(url).items()}
        except psycopg.ProgrammingError:
            raise InputError("is no PostgreSQL URL", where=where, hint=_NOT_READ) from None
        host, port, database = (given.get(name, "") for name in ("host", "port", "dbname"))
        # A password with a bare @ or / is read as a part of these, and would be shown as one.
        if not re.fullmatch(r"[\d,]*", port) or "@" in host + database:
            raise InputError("is no PostgreSQL URL", where=where, hint=_NOT_READ)
        who = f"{given['user']}@" if given.get("user") else ""
        place = host + (f":{port}" if port else "")
        secrets = tuple(given[name] for name in ("password", "sslpassword") if given.get(name))
        return cls(f"{POSTGRES[0]}{who}{place}/{database}", url, secrets)

    def connect(self) -> "Connection[TupleRow]":
        """A session of its own; raises psycopg.Error."""
        import psycopg
        from psycopg.conninfo import conninfo_to_dict

        # What it warns of is raised as well.
        logging.getLogger("psycopg").setLevel(logging.ERROR)
        given = conninfo_to_dict(self._url)
        options = {name: value for name, value in _CONNECTING.items() if name not in given}
        if os.environ.get("PGCONNECT_TIMEOUT"):
            options.pop("connect_timeout", None)
        connection = psycopg.connect(self._url, autocommit=True, **options)  # type: ignore[arg-type]
        connection.execute(_SESSION)
        if connection.info.server_version >= 140000:
            connection.execute(_IDLE)
        return connection

    @contextmanager
    def errors(self) -> Iterator[None]:
        """LedgerError for what the database says, with what to do."""
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            raise self.error(error) from None

    def error(self, error: "Error", what: str = "cannot use the ledger") -> LedgerError:
        """The same, as a value."""
        if error.sqlstate in _NO_LEDGER:
            return LedgerError(
                "there is no ledger in this database yet",
                where=self.name,
                hint="Make it: mlbroker ledger migrate",
            )
        said = " ".join(str(error).split()) or type(error).__name__
        for secret in self._secrets:
            said = said.replace(secret, "***")
        return LedgerError(f"{what}: {said}", where=self.name, hint=_remedy(error, said))


def _remedy(error: "Error", said: str) -> str:
    if "no password" in said or "password authentication" in said:
        return "Put the password into ~/.pgpass (mode 600), or the file that PGPASSFILE names."
    gone = error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
    return _REMEDIES.get(error.sqlstate or "", _DOWN if gone else _REST)
