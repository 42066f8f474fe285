"""The process that carries a run, as it says of itself in the file that it keeps locked."""

import json
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mlbroker.broker.guest.processes import stat_fields

_STOPPED = "Tt"


@dataclass(frozen=True, slots=True)
class Carrier:
    """Its process id on its host, and since when it carries the run."""

    pid: int
    host: str
    since: str

    @classmethod
    def of(cls, lock: Path) -> "Carrier | None":
        """Who wrote itself into the lock; None where nobody did, or it cannot be read."""
        try:
            raw = json.loads(lock.read_text(encoding="utf-8"))
            return cls(int(raw["pid"]), str(raw["host"]), str(raw["since"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @staticmethod
    def sign(lock: int) -> None:
        """Write this process into the lock it holds; on a full disk it stays unnamed."""
        since = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        name = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, json.dumps(name).encode(), 0)
        except OSError:
            return

    @property
    def stopped(self) -> bool:
        """Whether it is known to stand still: of this host, and suspended (Ctrl-Z, SIGSTOP)."""
        if self.host != socket.gethostname():
            return False
        fields = stat_fields(self.pid)
        return fields is not None and fields[0] in _STOPPED

    def __str__(self) -> str:
        state = ", which is suspended" if self.stopped else ""
        return f"process {self.pid} on {self.host} since {self.since}{state}"
