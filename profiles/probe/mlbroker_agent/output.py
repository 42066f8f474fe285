"""Finds step numbers in what the job prints, however much and however broken it is."""

import re
from typing import List, Optional

from .step_lines import MAX_LINE, OutputStep, StepLines, noise_in

TAIL = 8192
CHUNK = 65536


class OutputScanner:
    """Looks at the output as it comes. Lines end with a newline or a carriage return."""

    def __init__(self, progress: Optional[str]) -> None:
        self.bytes = 0
        self._lines = StepLines(progress)
        self._pending = b""
        self._tail = b""
        self._noise: Optional[str] = None

    @property
    def tail(self) -> str:
        """The last of the output, as text."""
        return self._tail.decode("utf-8", "replace")

    def noise(self) -> Optional[str]:
        """Noise and batch as the job printed them last; None where it did not since the last
        ask.
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
            self._noise = noise_in(line) or self._noise
            for seen in self._lines.read(line):
                found[seen.source] = seen
        return list(found.values())
