"""The record as lanes write it: one at a time, and each knows first what the others told."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mlbroker.broker.errors import InputError
from mlbroker.broker.guest.box import private_folder
from mlbroker.broker.tuning.record import StudyFolder, StudyState


class Writer:
    """Of one lane; `state` is what the record said when it was `alone` last.

    `news` are trials whose work was ended by any lane, until they are taken out.
    """

    def __init__(self, folder: StudyFolder) -> None:
        self.state = StudyState(folder.terms_study())
        self.news: list[int] = []
        self._read = 0
        self._file = open(folder.results, "ab+")  # noqa: SIM115  # for life

    @contextmanager
    def alone(self) -> Iterator[None]:
        """What is read and written in the block is one step for all others."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            self._catch_up()
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def add(self, **line: Any) -> None:
        """A line, while `alone`: on the disk before this returns, and in `state`."""
        data = json.dumps(line, sort_keys=True, allow_nan=False).encode() + b"\n"
        self._file.write(data)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._read += len(data)
        self._take(line)

    def close(self) -> None:
        """Let go."""
        self._file.close()

    def _catch_up(self) -> None:
        self._file.seek(self._read)
        text = self._file.read()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            # Nobody is in the middle of it now: who wrote it is dead.
            self._file.truncate(self._read + whole)
        for line in text[:whole].split(b"\n")[:-1]:
            self._take(json.loads(line))
        self._read += whole

    def _take(self, line: dict[str, Any]) -> None:
        self.state.take(line)
        if line["kind"] in ("worked", "failed"):
            self.news.append(line["trial"])


class Presence:
    """That a lane lives: a file that it keeps locked, which the kernel frees however it ends."""

    def __init__(self, folder: StudyFolder, lane: str) -> None:
        private_folder(str(folder.lane(lane)))
        self._file = _lock_file(folder, lane, "ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise InputError(
                f"study {folder.path.name} is worked on by run {lane} already",
                hint="`mlbroker ps` lists its runs",
            ) from None

    def close(self) -> None:
        """The lane has left."""
        self._file.close()


def lives(folder: StudyFolder, lane: str) -> bool:
    """Whether the lane of this run is at work."""
    try:
        with _lock_file(folder, lane, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _lock_file(folder: StudyFolder, lane: str, mode: str) -> IO[bytes]:
    path: Path = folder.lane(lane) / "lock"
    return open(path, mode)
