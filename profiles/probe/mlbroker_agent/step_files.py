"""Follows the files in which the job's processes count their steps, and the progress file.

`profile` reads them in the agent, and `run` on its machine: the guest's folder holds this same
file by a link. Python 3.8, standard library. The job may write to these files whatever it likes.
"""

import os
import re
import stat
from contextlib import suppress
from typing import Dict, List, NamedTuple, Optional, Tuple

# So much of a file is read at a look; a line is far shorter.
CHUNK = 1 << 22
LONGEST_LINE = 300


class StepEvent(NamedTuple):
    """`done` steps were done by `time_s` (monotonic), counted by `source` in process `pid`."""

    source: str
    pid: int
    time_s: float
    done: int
    total: int
    waited_s: float


class Note(NamedTuple):
    """Something a process said beside its steps."""

    source: str
    pid: int
    key: str
    value: str


class EventFiles:
    """What was appended since the last look, in every file of the folder.

    A file that is read to its end goes with its process: a long job may have a great many.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._position: Dict[str, int] = {}

    def read(self) -> Tuple[List[StepEvent], List[Note]]:
        """New events, those of one file in their order."""
        steps: List[StepEvent] = []
        notes: List[Note] = []
        for name in os.listdir(self._folder):
            source, _, pid = name.rpartition(".")
            if not (pid.isdigit() and len(pid) < 12):
                continue
            path = os.path.join(self._folder, name)
            ended = not os.path.exists("/proc/" + pid)  # asked before its last words are read
            start = self._position.get(name, 0)
            content = _part(path, start)
            if content is None:
                continue
            complete = content.rpartition(b"\n")[0]
            if complete:
                self._position[name] = start + len(complete) + 1
                for line in complete.decode("utf-8", "replace").split("\n"):
                    _parse(source, int(pid), line, steps, notes)
            elif len(content) == CHUNK:
                self._position[name] = start + CHUNK  # no line of ours
            elif ended:
                self._position.pop(name, None)
                with suppress(OSError):
                    os.unlink(path)
        return steps, notes


def _part(path: str, start: int) -> Optional[bytes]:
    """So much of a file from `start` on; None where it is no plain file, which might never end."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return os.pread(descriptor, CHUNK, start) if _is_plain(descriptor) else None
    finally:
        os.close(descriptor)


def _is_plain(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def _parse(source: str, pid: int, line: str, steps: List[StepEvent], notes: List[Note]) -> None:
    if len(line) > LONGEST_LINE:
        return
    if line.startswith("# "):
        key, _, value = line[2:].partition(" ")
        notes.append(Note(source, pid, key, value))
        return
    try:
        now, done, total, waited = (int(word) for word in line.split())
    except ValueError:
        return
    steps.append(StepEvent(source, pid, now / 1e9, done, total, waited / 1e9))


class ProgressFile:
    """A file in which the job writes `12/300` or `12`; the last line counts."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen = (0, 0)

    def read(self, now: float) -> List[StepEvent]:
        """The step it tells now, if it has changed since the last look."""
        try:
            status = os.stat(self._path)
        except OSError:
            return []
        state = (status.st_mtime_ns, status.st_size)
        if state == self._seen:
            return []
        self._seen = state
        content = _part(self._path, max(0, status.st_size - 256)) or b""
        for line in reversed(content.decode("utf-8", "replace").split("\n")):
            match = re.fullmatch(r"\s*(\d{1,15})(?:\s*/\s*(\d{1,15}))?\s*", line)
            if match:
                return [
                    StepEvent("file", 0, now, int(match.group(1)), int(match.group(2) or 0), 0.0)
                ]
        return []
