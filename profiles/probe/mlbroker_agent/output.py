"""Finds step numbers in what the job prints, however much and however broken it is."""

import re
from typing import List, Optional, Tuple

from .step_lines import MAX_LINE, OutputStep, StepLines

TAIL = 8192
CHUNK = 65536
# The job's own word on its gradient noise, and the batch that it saw it at, both in samples.
_NOISE = re.compile(rb"::mlbroker\s+noise=(\S{1,24})\s+batch=(\d{1,12})(?!\S)")


class OutputScanner:
    """Looks at the output as it comes. Lines end with a newline or a carriage return."""

    def __init__(self, progress: Optional[str]) -> None:
        self.bytes = 0
        self._lines = StepLines(progress)
        self._pending = b""
        self._tail = b""
        self._noise: Optional[Tuple[str, str]] = None

    @property
    def tail(self) -> str:
        """The last of the output, as text."""
        return self._tail.decode("utf-8", "replace")

    def noise(self) -> Optional[Tuple[str, str]]:
        """Noise and batch as the job printed them last; None where it did not since the last ask.

        Both are text: what is no number is sorted out where it is read.
        """
        told, self._noise = self._noise, None
        return told

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
            told = _NOISE.search(line[:MAX_LINE]) if b"::mlbroker" in line else None
            if told:
                self._noise = (told[1].decode("ascii", "replace"), told[2].decode("ascii"))
            for seen in self._lines.read(line):
                found[seen.source] = seen
        return list(found.values())
