"""The tables of a ledger on PostgreSQL, and the one way from each version to the next."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from mlbroker.broker.errors import RefusedError
from mlbroker.broker.ledger.facts import GENESIS, Account, LedgerError, first_break
from mlbroker.broker.ledger.postgres_server import Server

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.rows import TupleRow

VERSION = 1

# `accounts` repeats what the facts say, and `spent` what the settled accounts come to: a cap is
# checked by reading open runs and a row for each user, project and day, however long the history.
_VERSION_1 = f"""
CREATE SCHEMA mlbroker;
CREATE TABLE mlbroker.facts (
  seq bigint PRIMARY KEY, at text NOT NULL, run_id text NOT NULL, kind text NOT NULL,
  body text NOT NULL, hash text NOT NULL);
CREATE INDEX facts_by_run ON mlbroker.facts (run_id, seq);
CREATE INDEX facts_that_open ON mlbroker.facts (seq) WHERE kind = 'reserved';
CREATE FUNCTION mlbroker.refuse() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'append-only'; END $$;
CREATE TRIGGER facts_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON mlbroker.facts
  FOR EACH STATEMENT EXECUTE FUNCTION mlbroker.refuse();
CREATE TABLE mlbroker.head (
  alone boolean PRIMARY KEY DEFAULT true CHECK (alone), version integer NOT NULL,
  seq bigint NOT NULL, hash text NOT NULL) WITH (fillfactor = 10);
INSERT INTO mlbroker.head (version, seq, hash) VALUES (0, 0, '{GENESIS}');
CREATE TABLE mlbroker.accounts (
  run_id text PRIMARY KEY, usr text NOT NULL, project text, at timestamptz NOT NULL,
  open boolean NOT NULL, usd numeric NOT NULL);
CREATE INDEX accounts_open ON mlbroker.accounts (run_id) WHERE open;
CREATE INDEX accounts_by_time ON mlbroker.accounts (at);
CREATE TABLE mlbroker.spent (
  day date NOT NULL, usr text NOT NULL, project text NOT NULL, usd numeric NOT NULL,
  PRIMARY KEY (day, usr, project));
CREATE FUNCTION mlbroker.sum_up() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog AS $$ BEGIN
  IF TG_OP = 'UPDATE' AND NOT OLD.open THEN
    UPDATE mlbroker.spent SET usd = usd - OLD.usd
    WHERE day = (OLD.at AT TIME ZONE 'UTC')::date AND usr = OLD.usr
      AND project = coalesce(OLD.project, '');
  END IF;
  IF NOT NEW.open THEN
    INSERT INTO mlbroker.spent AS before VALUES (
      (NEW.at AT TIME ZONE 'UTC')::date, NEW.usr, coalesce(NEW.project, ''), NEW.usd)
    ON CONFLICT (day, usr, project) DO UPDATE SET usd = before.usd + NEW.usd;
  END IF;
  RETURN NULL; END $$;
CREATE TRIGGER accounts_sum_up AFTER INSERT OR UPDATE ON mlbroker.accounts
  FOR EACH ROW EXECUTE FUNCTION mlbroker.sum_up();
"""  # noqa: S608  # constants
# What brings a database to each version from the one before.
_STEPS = {1: _VERSION_1}

# Any number, as long as it is always this one: of two who migrate at once, one waits.
_MIGRATING = 0x6D6C62726F6B6572


def check_version(version: int, where: str) -> None:
    """Refuse tables of another version than this mlbroker writes."""
    if version > VERSION:
        raise LedgerError(
            f"the ledger has format {version}; this mlbroker knows up to {VERSION}",
            where=where,
            hint="A newer mlbroker wrote it: upgrade this one. Nothing was launched.",
        )
    if version < VERSION:
        raise LedgerError(
            f"the ledger has format {version}; this mlbroker writes {VERSION}",
            where=where,
            hint="Bring it up to date: mlbroker ledger migrate",
        )


def migrate(
    server: Server,
    rows: Iterator[tuple[int, str, str, str, str, str]],
    accounts: Sequence[Account],
) -> tuple[int, int]:
    """Make the tables, or bring them up to date, and copy facts into them as they are stored.

    All or nothing. The version before (0: no tables) and now. RefusedError where there are facts
    already, LedgerError where what arrived is not in one chain.
    """
    with server.errors(), server.connect() as connection:
        connection.execute("SELECT set_config('statement_timeout', '0', false)")
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATING,))
            before = _version(connection)
            if before > VERSION:
                check_version(before, server.name)
            for version in range(before + 1, VERSION + 1):
                connection.execute(_STEPS[version])
                connection.execute("UPDATE mlbroker.head SET version = %s", (version,))
            first = next(rows, None)
            if first is not None:
                _refuse_full(connection, server.name)
                _copy(connection, chain([first], rows), accounts)
    return before, VERSION


def _refuse_full(connection: "Connection[TupleRow]", where: str) -> None:
    (there,) = one(connection, "SELECT seq FROM mlbroker.head FOR UPDATE")
    if there:
        raise RefusedError(
            f"there is a ledger of {there} facts already",
            where=where,
            hint="A copy goes into an empty one: name another database.",
        )


def _copy(
    connection: "Connection[TupleRow]",
    rows: Iterable[tuple[int, str, str, str, str, str]],
    accounts: Sequence[Account],
) -> None:
    with connection.cursor() as cursor:
        with cursor.copy("COPY mlbroker.facts FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        with cursor.copy("COPY mlbroker.accounts FROM STDIN") as copy:
            for a in accounts:
                copy.write_row((a.run_id, a.user, a.project, a.at, a.open, a.usd))
    # Named, it stays on the server, and its rows come in parts.
    with connection.cursor("copied") as arrived:
        arrived.itersize = 10_000
        arrived.execute("SELECT * FROM mlbroker.facts ORDER BY seq")
        broken = first_break(arrived)
    if broken is not None:
        raise LedgerError(f"the copy is not what was copied: {broken.what}")
    connection.execute(
        "UPDATE mlbroker.head SET (seq, hash) = "
        "(SELECT seq, hash FROM mlbroker.facts ORDER BY seq DESC LIMIT 1)"
    )


def _version(connection: "Connection[TupleRow]") -> int:
    (there,) = one(connection, "SELECT to_regclass('mlbroker.head') IS NOT NULL")
    return int(one(connection, "SELECT version FROM mlbroker.head")[0]) if there else 0


def grant_writer(server: Server, role: str) -> None:
    """The least that a client needs: it adds facts, and can neither change nor remove any."""
    from psycopg import sql

    with server.errors(), server.connect() as connection, connection.transaction():
        for rights in _WRITER:
            connection.execute(sql.SQL(f"GRANT {rights} TO ") + sql.Identifier(role))


_WRITER = (
    "USAGE ON SCHEMA mlbroker",
    "SELECT ON ALL TABLES IN SCHEMA mlbroker",
    "INSERT ON mlbroker.facts",
    "INSERT, UPDATE ON mlbroker.accounts",
    # Who may update none of its columns may not lock a row.
    "UPDATE (seq, hash) ON mlbroker.head",
)


def one(connection: "Connection[TupleRow]", query: str) -> "TupleRow":
    """The one row of an answer."""
    row = connection.execute(query).fetchone()
    assert row is not None
    return row
