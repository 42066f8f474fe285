"""Where a ledger is kept, so that a copy of it leaves the open runs of the original alone.

A ledger is the one it was if it stands at a place it was kept at (host and path), or if it is the
same file (by its inode and its folder's), moved or mounted elsewhere. See decision 026.
"""

import os
import socket
import sqlite3
from pathlib import Path
from typing import NamedTuple

from mlbroker.broker.errors import RefusedError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kept_at (
  host TEXT NOT NULL, path TEXT NOT NULL, files TEXT NOT NULL, PRIMARY KEY (host, path)) STRICT
"""


class Place(NamedTuple):
    """A host (its machine id and name), the ledger's real path there, and which files these are."""

    host: str
    path: str
    files: str


def place_of(ledger: Path) -> Place:
    """Where this ledger is now."""
    path = os.path.realpath(ledger)
    files = f"{os.stat(path).st_ino}-{os.stat(os.path.dirname(path)).st_ino}"
    return Place(f"{_machine_id()} {socket.gethostname()}", path, files)


def settle_in(connection: sqlite3.Connection, ledger: Path, adopt: bool = False) -> None:
    """Inside a transaction that writes: know this place, or refuse as a copy with open runs."""
    connection.execute(_SCHEMA)
    now, known = place_of(ledger), _known(connection)
    if adopt or (known and not _is_original(now, known)):
        refusal = None if adopt else why_copy(connection, ledger)
        if refusal is not None:
            raise refusal
        connection.execute("DELETE FROM kept_at")
    if now not in known or adopt:
        connection.execute("INSERT OR REPLACE INTO kept_at VALUES (?, ?, ?)", now)


def why_copy(connection: sqlite3.Connection, ledger: Path) -> RefusedError | None:
    """What refuses a copy whose runs are open at the original; nothing is written."""
    try:
        known = _known(connection)
    except sqlite3.OperationalError:  # written by a release that did not know its place
        return None
    (open_runs,) = connection.execute("SELECT count(*) FROM accounts WHERE open").fetchone()
    if not (known and open_runs) or _is_original(place_of(ledger), known):
        return None
    return RefusedError(
        f"this ledger is a copy of {known[0].path} (host {known[0].host.split()[-1]}), and "
        f"{open_runs} of its runs are open there: both would settle them",
        where=str(ledger),
        hint="Use the original. If that is gone for good: mlbroker reconcile --adopt",
    )


def _known(connection: sqlite3.Connection) -> list[Place]:
    return [Place(*row) for row in connection.execute("SELECT host, path, files FROM kept_at")]


def _is_original(now: Place, known: list[Place]) -> bool:
    if any((now.host, now.path) == (place.host, place.path) for place in known):
        return True
    if all(now.files != place.files for place in known):
        return False
    # A snapshot keeps the numbers of the files: then there is another one at its place still.
    return not any(
        now.host == place.host
        and os.path.exists(place.path)
        and not os.path.samefile(place.path, now.path)
        for place in known
    )


def _machine_id() -> str:
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            return Path(path).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
    return "-"
