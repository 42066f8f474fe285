"""Finds step numbers in what the job prints, however much and however broken it is."""

import re
from typing import List, NamedTuple, Optional

MARKER = re.compile(rb"::mlbroker\s+step=(\d{1,15})(?:/(\d{1,15}))?")
MAX_LINE = 4096
TAIL = 8192
CHUNK = 65536


class OutputStep(NamedTuple):
    """A step number in the output, with the total where it was printed too."""

    source: str
    done: int
    total: int


class OutputScanner:
    """Looks at the output as it comes. Lines end with a newline or a carriage return."""

    def __init__(self, progress: Optional[str]) -> None:
        self.bytes = 0
        self._progress = re.compile(progress) if progress else None
        self._pending = b""
        self._tail = b""
        self._counts = {"regex": Restarts(), "marker": Restarts()}

    @property
    def tail(self) -> str:
        """The last of the output, as text."""
        return self._tail.decode("utf-8", "replace")

    def feed(self, chunk: bytes) -> List[OutputStep]:
        """The last step number of each kind in this chunk."""
        self.bytes += len(chunk)
        self._tail = (self._tail + chunk)[-TAIL:]
        if len(chunk) >= CHUNK:
            # The job prints faster than anyone could read: its latest lines tell enough.
            chunk = chunk[-TAIL:]
            self._pending = b""
        lines = re.split(rb"[\r\n]", self._pending + chunk)
        self._pending = lines.pop()[-MAX_LINE:]
        found = {}
        for line in lines:
            for seen in self._scan(line[:MAX_LINE]):
                found[seen.source] = seen
        return list(found.values())

    def _scan(self, line: bytes) -> List[OutputStep]:
        found: List[Optional[OutputStep]] = []
        if b"::mlbroker" in line:
            match = MARKER.search(line)
            if match:
                total = int(match.group(2) or 0)
                found.append(self._counts["marker"].seen("marker", int(match.group(1)), total))
        if self._progress is not None:
            text = self._progress.search(line.decode("utf-8", "replace"))
            if text:
                number = _group(text, "step") or (text.group(1) if text.re.groups else None)
                if number is not None and number.strip().isdigit():
                    total_text = _group(text, "total") or ""
                    total = int(total_text) if total_text.isdigit() else 0
                    found.append(self._counts["regex"].seen("regex", int(number), total))
        return [step for step in found if step is not None]


class Restarts:
    """Turns step numbers that begin anew in every epoch into one growing count."""

    def __init__(self) -> None:
        self._offset = 0
        self._last = 0
        self._fell = False

    def seen(self, source: str, number: int, total: int) -> Optional[OutputStep]:
        """The number as part of one count; None where it only counts down (what is left to do).

        A total that was passed before is an epoch's.
        """
        last, self._last = self._last, number
        fell, self._fell = self._fell, number < last
        if number < last:
            # An epoch begins with a small number, and its next one is larger.
            if fell or number > last / 2:
                return None
            self._offset += max(last, total)
        return OutputStep(source, self._offset + number, 0 if self._offset else total)


def _group(match: "re.Match[str]", name: str) -> Optional[str]:
    return match.group(name) if name in match.re.groupindex else None
