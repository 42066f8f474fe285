"""The folder of one run below the state folder, and the lock of whoever carries the run."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.guest import box as files
from mlbroker.broker.home import private_folder, private_home
from mlbroker.broker.runs.carrier import Carrier

# More of what a job says is not brought home: a machine may claim, and serve, any amount.
LOG_KEPT_BYTES = 1 << 30


def unusable(path: Path, error: OSError) -> MlbrokerError:
    """The state folder cannot be written: said before anything is reserved."""
    return MlbrokerError(
        f"cannot write the run's folder: {error.strerror or error}",
        where=str(path),
        hint="Free some space, make the folder writable, or set MLBROKER_HOME to one that is.",
    )


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where a run's order, bundle, log, checkpoint and outputs are kept on this machine."""

    path: Path

    @classmethod
    def of(cls, home: Path, run_id: str) -> "RunFolder":
        """The folder of this run."""
        return cls(home / "runs" / run_id)

    def of_rank(self, rank: int) -> "RunFolder":
        """Where log and outputs of one of several machines are kept; rank 0 has the run's own."""
        return RunFolder(self.path / "ranks" / str(rank)) if rank else self

    @property
    def home(self) -> Path:
        """The state folder that the run belongs to."""
        return self.path.parent.parent

    @property
    def log(self) -> Path:
        """The job's output, secrets masked."""
        return self.path / "log"

    def console(self, attempt: int) -> Path:
        """What an attempt's machine said while it started, kept where it did not get further."""
        return self.path / f"console.{attempt}.log"

    def log_offset(self, attempt: int) -> int:
        """How much of an attempt's log is at home. Its bytes say so, whoever died writing them."""
        begin = self._log_begin(attempt)
        if begin is None:
            return 0
        return max(0, self._log_bytes() - begin)

    def log_room(self) -> int:
        """How many bytes more the log may take here."""
        return LOG_KEPT_BYTES - self._log_bytes()

    def keep_log(self, attempt: int, data: bytes) -> None:
        """Put more of an attempt's log behind the rest."""
        private_folder(str(self.path))
        if self._log_begin(attempt) is None:
            files.write(str(self.path), self._begin_name(attempt), str(self._log_bytes()))
        with open(self.log, "ab") as log:
            log.write(data)

    def _log_bytes(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def _log_begin(self, attempt: int) -> int | None:
        """Where an attempt's part of the log begins; None before its first byte is here."""
        if attempt == 1:
            return 0
        text = files.read(str(self.path), self._begin_name(attempt)) or ""
        return int(text) if text.isascii() and text.isdigit() else None

    @staticmethod
    def _begin_name(attempt: int) -> str:
        return f"log.{attempt}.begin"

    @property
    def bundle(self) -> Path:
        """The work directory as it was sent."""
        return self.path / "bundle.tar.gz"

    @property
    def checkpoint(self) -> Path:
        """The last checkpoint collected."""
        return self.path / "checkpoint.tar"

    @property
    def complaints(self) -> Path:
        """What a process that carried the run in the background had to say."""
        return self.path / "carrier.log"

    @property
    def outputs(self) -> Path:
        """What the job left in MLBROKER_OUTPUT_DIR."""
        return self.path / "outputs"

    @contextmanager
    def carried(self, wait: bool = True) -> Iterator[bool]:
        """Be the one process that carries this run; False when another is (and not to wait).

        The kernel frees the lock however its holder ends.
        """
        try:
            private_home(self.home)
            private_folder(str(self.path))
            lock = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise unusable(self.path, error) from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            except OSError as error:
                raise MlbrokerError(
                    f"files cannot be locked there: {error.strerror}",
                    where=str(self.path),
                    hint="Set MLBROKER_HOME to a folder on a file system that knows flock.",
                ) from None
            else:
                Carrier.sign(lock)
                yield True
        finally:
            os.close(lock)

    def carrier(self) -> Carrier | None:
        """Who carries this run, while somebody does; None where that is not told."""
        return Carrier.of(self._lock)

    def attended(self) -> bool:
        """Whether a process carries the run, and is not known to stand still."""
        try:
            lock = os.open(self._lock, os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            carrier = self.carrier()
            return carrier is None or not carrier.stopped
        finally:
            os.close(lock)
        return False

    @property
    def _lock(self) -> Path:
        return self.path / "lock"
