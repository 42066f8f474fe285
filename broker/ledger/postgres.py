"""Facts in a PostgreSQL database, for a team: one row is locked by whoever writes.

Its chain of hashes is that of a ledger in a file, so that a copied ledger has the same head.
See decision 047.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import UTC, date, datetime, timedelta
from threading import RLock
from typing import TYPE_CHECKING, Any

from mlbroker.broker.errors import RefusedError
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
from mlbroker.broker.ledger.postgres_schema import check_version, one
from mlbroker.broker.ledger.postgres_server import Server
from mlbroker.broker.ledger.state import OPENINGS, State

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.rows import TupleRow

# A client's clock may be so far from the database's; one further off is not believed.
CLOCKS_APART = timedelta(seconds=5)
# A connection that rested longer may have been cut on the way, or taken back by the server.
_FRESH_S = 30.0
# So long a server that was there before is waited for, as it may be restarting; and it is tried to
# find out what became of a commit whose answer was lost.
_RESTART_S = 60.0
_PAGE = 10_000
_COLUMNS = "seq, at, run_id, kind, body, hash"
_ACCOUNT = "run_id, usr, project, at, open, usd"

# Clients queue on a number of the database's: who waits for a row is woken at every change of it.
# The head is let go of when the commit stands in the log, and only then the disk is waited for:
# with those of other clients that commit meanwhile. What is acknowledged is on the disk.
_BEGIN = """BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
SET LOCAL synchronous_commit = off;
SELECT pg_advisory_xact_lock(1835819627);
SELECT 1 FROM mlbroker.head FOR UPDATE;
SELECT version, seq, hash, clock_timestamp() FROM mlbroker.head"""
# A commit of its own, by the session's setting; it is behind all before it in the log.
_TO_DISK = "SELECT pg_logical_emit_message(true, 'mlbroker', '')"
_APPEND = """WITH fact AS (INSERT INTO mlbroker.facts VALUES (%s, %s, %s, %s, %s, %s))
UPDATE mlbroker.head SET seq = %s, hash = %s"""
_PUT = """INSERT INTO mlbroker.accounts VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (run_id)
DO UPDATE SET (usr, project, at, open, usd) =
  (EXCLUDED.usr, EXCLUDED.project, EXCLUDED.at, EXCLUDED.open, EXCLUDED.usd)"""
_COUNTING = """ AND run_id IN
  (SELECT run_id FROM mlbroker.accounts WHERE open OR at >= %s)"""
_OFF_BALANCE = """SELECT day FROM mlbroker.spent FULL JOIN (
  SELECT (at AT TIME ZONE 'UTC')::date AS day, usr, coalesce(project, '') AS project,
    sum(usd) AS usd
  FROM mlbroker.accounts WHERE NOT open GROUP BY 1, 2, 3) AS settled
USING (day, usr, project)
WHERE coalesce(spent.usd, 0) <> coalesce(settled.usd, 0) LIMIT 1"""


class PostgresStorage:
    """One ledger in one database. A process keeps one connection; forks open their own."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.team = server.name
        self._connection: Connection[TupleRow] | None = None
        self._owner = 0
        self._used_at = 0.0
        self._turn = RLock()
        self._in_snapshot = False

    @contextmanager
    def write(self, adopt: bool = False) -> Iterator["_PostgresTransaction"]:
        """One durable transaction; an exception inside rolls it back.

        A lost answer to its commit is looked up: it was written, or LedgerError says it was not.
        """
        import psycopg

        with self._turn, self.server.errors():
            connection, transaction = self._begin()
            try:
                yield transaction
            except BaseException:
                self._undo(connection)
                raise
            try:
                transaction.commit()
            except psycopg.Error as error:
                lost = connection.closed
                self._undo(connection)
                # It may also be kept where only the wait for the disk failed.
                if transaction.last is None or not self._kept(transaction.last):
                    if not lost:
                        raise
                    raise _not_kept(error, self.server.name) from None
            except BaseException:
                self._undo(connection)
                raise
            self._used_at = time.monotonic()

    def _begin(self) -> "tuple[Connection[TupleRow], _PostgresTransaction]":
        import psycopg

        while True:
            connection, rested = self._open()
            try:
                answers = connection.execute(_BEGIN, prepare=False)
                for _ in range(4):
                    answers.nextset()
                row = answers.fetchone()
                if row is None:
                    raise LedgerError("its head is gone", where=self.server.name)
                version, seq, hash_, now = row
                check_version(version, self.server.name)
                return connection, _PostgresTransaction(connection, seq, hash_, now)
            except psycopg.OperationalError:
                cut = connection.closed
                self._undo(connection)
                if not (cut and rested):  # nothing was written yet: a new connection will do
                    raise
            except BaseException:
                self._undo(connection)
                raise

    def _undo(self, connection: "Connection[TupleRow]") -> None:
        """Roll back, and give the connection back where that is not certain."""
        import psycopg

        with suppress(psycopg.Error):
            if not connection.closed:
                connection.execute("ROLLBACK", prepare=False)
                return
        self.close()

    def _kept(self, fact: Fact) -> bool:
        """Whether a fact is on the server's disk; LedgerError where nobody can tell."""
        import psycopg

        until = time.monotonic() + _RESTART_S
        while True:
            try:
                # Whoever may still be committing it holds the head.
                connection, _ = self._begin()
                query = "SELECT hash FROM mlbroker.facts WHERE seq = %s"
                found = connection.execute(query, (fact.seq,)).fetchone()
                self._undo(connection)
                connection.execute(_TO_DISK)
                return found == (fact.hash,)
            except psycopg.Error as error:
                self.close()
                if time.monotonic() > until:
                    what = f"the answer to a commit was lost ({fact.kind} of {fact.run_id or '-'})"
                    raise self.server.error(error, what) from None
                time.sleep(0.1)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read inside the block is of one moment."""
        with self._turn, self.server.errors():
            connection, _ = self._open()
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            self._in_snapshot = True
            try:
                yield
            finally:
                self._in_snapshot = False
                self._undo(connection)

    def facts(self, run_id: str | None = None) -> Iterator[Fact]:
        """All facts in order, or one run's."""
        if run_id is None:
            return read_rows(self._pages("true"))
        return read_rows(self._pages("run_id = %s", run_id))

    def facts_of_market(self, market: str) -> Iterator[Fact]:
        """The facts of the runs that asked for a machine on this market, in order."""
        intents = read_rows(self._pages("kind = %s", str(State.INTENDED)))
        ids = {fact.run_id for fact in intents if fact.body["market"] == market}
        return read_rows(self._pages("run_id = ANY(%s)", list(ids)))

    def facts_of_kinds(self, kinds: Sequence[str], since: datetime | None) -> Iterator[Fact]:
        """Facts of these kinds in order: of all runs, or of those that count `since` then, and of
        those that are open."""
        names = [*map(str, kinds)]
        if since is None:
            return read_rows(self._pages("kind = ANY(%s)", names))
        return read_rows(self._pages("kind = ANY(%s)" + _COUNTING, names, since))

    def openings(self) -> list[Fact]:
        """The facts that open runs, in order."""
        return list(read_rows(self._pages("kind = ANY(%s)", [*map(str, OPENINGS)])))

    def accounts(self, only_open: bool = False) -> list[Account]:
        """What every run holds of the caps, or every open one, as kept beside the facts."""
        where = "WHERE open" if only_open else ""
        rows = self._read(f"SELECT {_ACCOUNT} FROM mlbroker.accounts {where} ORDER BY run_id")  # noqa: S608
        return [Account(*row) for row in rows]

    def why_copy(self) -> RefusedError | None:
        """A database has one address: nobody takes a copy of it for the original by mistake."""
        return None

    def verify(self) -> Break | None:
        """The first damage found, in the chain of hashes, in the head, or in the running sums."""
        last = (0, GENESIS)

        def rows() -> Iterator[Any]:
            nonlocal last
            for row in self._pages("true"):
                last = (row[0], row[5])
                yield row

        broken = first_break(rows())
        if broken is not None:
            return broken
        if self.head() != last:
            return Break(last[0] + 1, f"rows after row {last[0]} are missing, by the head")
        off = self._read(_OFF_BALANCE)
        return Break(0, f"what was spent on {off[0][0]} differs from its runs") if off else None

    def head(self) -> tuple[int, str]:
        """Number and hash of the last fact: note it down to prove later that nothing was cut."""
        ((seq, hash_),) = self._read("SELECT seq, hash FROM mlbroker.head")
        return seq, hash_

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None and self._owner == os.getpid():
            self._connection.close()
        self._connection = None

    def __del__(self) -> None:
        self.close()

    def _open(self) -> "tuple[Connection[TupleRow], bool]":
        """A connection, and whether it may have been cut since it was used: then open it anew."""
        there, now = self._connection, time.monotonic()
        usable = there is not None and self._owner == os.getpid() and not there.closed
        if there is not None and usable and (self._in_snapshot or now - self._used_at < _FRESH_S):
            self._used_at = now
            return there, not self._in_snapshot
        self.close()
        self._connection, self._owner = self._connect(), os.getpid()
        (version,) = one(self._connection, "SELECT version FROM mlbroker.head")
        check_version(version, self.server.name)
        self._used_at = time.monotonic()
        return self._connection, False

    def _connect(self) -> "Connection[TupleRow]":
        import psycopg

        until = time.monotonic() + (_RESTART_S if self._used_at else 0.0)
        while True:
            try:
                return self.server.connect()
            except psycopg.OperationalError:
                if time.monotonic() >= until:
                    raise
                time.sleep(0.2)

    def _read(self, query: str, values: Sequence[object] = ()) -> "list[TupleRow]":
        import psycopg

        with self._turn, self.server.errors():
            while True:
                connection, rested = self._open()
                try:
                    return connection.execute(query, values).fetchall()
                except psycopg.OperationalError:
                    if not (connection.closed and rested):
                        raise
                    self.close()

    def _pages(self, where: str, *values: object) -> "Iterator[TupleRow]":
        """Rows of facts in order. Facts never change, so that no transaction has to be held."""
        seq = 0
        query = (
            f"SELECT {_COLUMNS} FROM mlbroker.facts WHERE {where} AND seq > %s "  # noqa: S608
            f"ORDER BY seq LIMIT {_PAGE}"
        )
        while True:
            rows = self._read(query, (*values, seq))
            yield from rows
            if len(rows) < _PAGE:
                return
            seq = rows[-1][0]


class _PostgresTransaction:
    def __init__(
        self, connection: "Connection[TupleRow]", seq: int, hash_: str, now: datetime
    ) -> None:
        self._connection = connection
        self._seq, self._hash, self._now = seq, hash_, now
        # What is still to be sent: at once, with the commit, as each way to the server and back
        # is time that all others wait.
        self._unsent: list[tuple[str, tuple[object, ...]]] = []
        self.last: Fact | None = None

    def facts(self, run_id: str) -> list[Fact]:
        return self._facts("run_id = %s", run_id)

    def openings(self) -> list[Fact]:
        return self._facts("kind = ANY(%s)", [*map(str, OPENINGS)])

    def open_runs(self) -> list[str]:
        return [
            run_id for (run_id,) in self._rows("SELECT run_id FROM mlbroker.accounts WHERE open")
        ]

    def accounts(self, since: datetime) -> list[Account]:
        query = f"SELECT {_ACCOUNT} FROM mlbroker.accounts WHERE open"  # noqa: S608
        held = [Account(*row) for row in self._rows(query)]
        query = "SELECT usr, project, day, usd FROM mlbroker.spent WHERE day >= %s"
        for user, project, day, usd in self._rows(query, since.astimezone(UTC).date()):
            held.append(Account("", user, project or None, _begin_of(day), False, usd))
        return held

    def latest_account(self) -> datetime | None:
        ((latest,),) = self._rows("SELECT max(at) FROM mlbroker.accounts")
        found: datetime | None = latest
        return found

    def moment(self, at: datetime) -> datetime:
        return at if abs(at - self._now) <= CLOCKS_APART else self._now

    def append(self, at: datetime, run_id: str, kind: str, body: Mapping[str, Any]) -> Fact:
        seq, moment, text = self._seq + 1, at.isoformat(), canonical(body)
        hash_ = chain_hash(self._hash, seq, moment, run_id, kind, text)
        row = (seq, moment, run_id, str(kind), text, hash_)
        self._unsent.append((_APPEND, (*row, seq, hash_)))
        self._seq, self._hash = seq, hash_
        self.last = Fact(seq, at, run_id, kind, body, hash_)
        return self.last

    def put_account(self, a: Account) -> None:
        self._unsent.append((_PUT, (a.run_id, a.user, a.project, a.at, a.open, a.usd)))

    def commit(self) -> None:
        with self._at_once():
            self._send()
            self._connection.execute("COMMIT", prepare=False)
            if self.last is not None:
                self._connection.execute(_TO_DISK)

    def _send(self) -> None:
        for query, values in self._unsent:
            self._connection.execute(query, values)
        self._unsent.clear()

    def _at_once(self) -> AbstractContextManager[object]:
        from psycopg import Pipeline

        # Where the system's own library is used, it may be older than that.
        return self._connection.pipeline() if Pipeline.is_supported() else nullcontext()

    def _facts(self, where: str, *values: object) -> list[Fact]:
        query = f"SELECT {_COLUMNS} FROM mlbroker.facts WHERE {where} ORDER BY seq"  # noqa: S608
        return list(read_rows(self._rows(query, *values)))

    def _rows(self, query: str, *values: object) -> "list[TupleRow]":
        self._send()
        return self._connection.execute(query, values).fetchall()


def _begin_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _not_kept(error: Exception, where: str) -> LedgerError:
    return LedgerError(
        f"the connection was lost before anything was kept: {' '.join(str(error).split())}",
        where=where,
        hint="Nothing was launched. Run the command again.",
    )
