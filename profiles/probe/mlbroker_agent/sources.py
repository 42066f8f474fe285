"""Follows the files in which the job's processes count their steps, and the progress file."""

import os
import re
from typing import Dict, List, NamedTuple, Tuple


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
    """What was appended since the last look, in every file of the folder."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._position: Dict[str, int] = {}

    def read(self) -> Tuple[List[StepEvent], List[Note]]:
        """New events, those of one file in their order."""
        steps: List[StepEvent] = []
        notes: List[Note] = []
        for entry in os.scandir(self._folder):
            source, _, pid = entry.name.rpartition(".")
            start = self._position.get(entry.name, 0)
            if not pid.isdigit() or entry.stat().st_size <= start:
                continue
            with open(entry.path, "rb") as file:
                file.seek(start)
                content = file.read(1 << 22)
            complete = content.rpartition(b"\n")[0]
            if not complete:
                continue
            self._position[entry.name] = start + len(complete) + 1
            for line in complete.decode("utf-8", "replace").split("\n"):
                _parse(source, int(pid), line, steps, notes)
        return steps, notes


def _parse(source: str, pid: int, line: str, steps: List[StepEvent], notes: List[Note]) -> None:
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
            state = (status.st_mtime_ns, status.st_size)
            if state == self._seen:
                return []
            with open(self._path, "rb") as file:
                file.seek(max(0, status.st_size - 256))
                lines = file.read(256).decode("utf-8", "replace").split("\n")
        except OSError:
            return []
        self._seen = state
        for line in reversed(lines):
            match = re.fullmatch(r"\s*(\d{1,15})(?:\s*/\s*(\d{1,15}))?\s*", line)
            if match:
                return [
                    StepEvent("file", 0, now, int(match.group(1)), int(match.group(2) or 0), 0.0)
                ]
        return []
