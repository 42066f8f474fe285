"""Tells steps on the job's own output, where `mlbroker run` looks for them."""

import os
import time

from ._events import StepCount

# More often than a person looks would only fill the log.
EVERY_S = 1.0


class Teller(StepCount):
    """The count of this process's steps, told as `::mlbroker step=N/TOTAL` once in a second."""

    def __init__(self) -> None:
        super().__init__()
        self._told_at = 0.0

    def begin(self) -> None:
        """The loop is entered; nothing to tell yet."""

    def add(self, steps: int) -> None:
        """So many more steps are done."""
        self.count += steps
        now = time.monotonic()
        if now - self._told_at >= EVERY_S or self.count == self.total:
            self._told_at = now
            self._tell()

    def note(self, key: str, value: object) -> None:
        """Nobody measures, so there is nobody to note it for."""

    def _tell(self) -> None:
        of = "/%d" % self.total if self.total else ""
        try:
            os.write(1, ("::mlbroker step=%d%s\n" % (self.count, of)).encode())
        except OSError:
            return  # the job must run on even when nobody listens
