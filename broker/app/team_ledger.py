"""The team's ledger on a server: its tables made or brought up to date, and a file copied in."""

from pathlib import Path
from typing import Any

from mlbroker.broker.errors import InputError, RefusedError
from mlbroker.broker.home import TEAM_LEDGER
from mlbroker.broker.ledger import Ledger, LedgerError, team_storage
from mlbroker.broker.ledger.postgres import PostgresStorage
from mlbroker.broker.ledger.postgres_schema import grant_writer
from mlbroker.broker.ledger.postgres_schema import migrate as migrate_tables
from mlbroker.broker.ledger.sqlite import SqliteStorage
from mlbroker.broker.team import team_ledger


def migrate(state: Path, *, from_sqlite: bool, writer: str | None) -> dict[str, Any]:
    """Make the tables of the ledger that counts here (see `broker.team`), or bring them up to date.

    With `from_sqlite` this state folder's ledger is copied into it, which must be empty; with
    `writer` a role of the database gets the rights of a client. The document that `--json` prints.
    """
    address = team_ledger()
    if address is None:
        raise InputError(
            f"neither {TEAM_LEDGER} nor a policy file names a database",
            hint="The ledger in the state folder needs no migration; a team's is "
            f"{TEAM_LEDGER}=postgresql://USER@HOST/DATABASE.",
        )
    storage = team_storage(*address)
    if from_sqlite:
        before, now = _copy(SqliteStorage(state / "ledger.db"), storage)
    else:
        before, now = migrate_tables(storage.server, iter(()), ())
    if writer is not None:
        grant_writer(storage.server, writer)
    seq, head = storage.head()
    return {
        "schema": "mlbroker.ledger-migrate/1",
        "ledger": storage.team,
        "format_before": before or None,
        "format": now,
        "copied": from_sqlite,
        "facts": seq,
        "head": f"{seq}:{head}",
        "writer": writer,
    }


def _copy(file: SqliteStorage, into: PostgresStorage) -> tuple[int, int]:
    """Checked before and after: the same facts in the same order, so the same head."""
    ledger = Ledger(file)
    if not ledger.head()[0]:
        raise InputError("no ledger is in the state folder", where="--from-sqlite")
    # Nobody opens a run meanwhile; who carries one would go on writing into the file.
    with file.write():
        damage, open_runs, head = ledger.verify(), ledger.open_runs(), ledger.head()
        if damage is not None:
            raise LedgerError(damage.what, hint="Restore a backup; a damaged ledger is not copied.")
        if open_runs:
            raise RefusedError(
                f"run {open_runs[0].run_id} is open: whoever carries it writes into the file",
                hint="Wait for its end, or: mlbroker stop --all. Then copy.",
            )
        versions = migrate_tables(into.server, file.rows(), file.accounts())
    broken = Ledger(into).verify()
    if broken is not None or into.head() != head:
        raise LedgerError("the copy is not what was copied: use neither, and report this")
    return versions
