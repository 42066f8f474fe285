"""Ctrl-C as an event that is looked for at safe points, not an exception out of nowhere."""

import os
import select
import signal
import sys
import time
from types import FrameType
from typing import Any

from mlbroker.broker.runs.clock import Clock

# Who presses again so long after a press that nothing came of does not want to wait any more.
UNHEARD_S = 1.0


class Pressed(BaseException):
    """Ctrl-C was pressed. Raised where the run's driver waits or stands between two steps."""


class CtrlC(Clock):
    """The clock of a run in the foreground: while it is entered, a Ctrl-C ends waits, no more.

    A KeyboardInterrupt may fly through a transaction, a lock or a half-made request, and what it
    leaves there fails the next step. So a press is noted, and shows where nothing is in hand.
    Only when a step takes long and the person presses again is it the exception it was: then the
    run has to be left to another process.
    """

    def __init__(self) -> None:
        self._pressed_at: float | None = None
        self._before: Any = None
        self._wake, self._press = os.pipe()

    def __enter__(self) -> "CtrlC":
        os.set_blocking(self._press, False)
        # Ignored it may be on purpose: nohup, or a shell's background.
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        os.close(self._wake)
        os.close(self._press)

    def look(self) -> None:
        """Raise Pressed when there was a Ctrl-C that nobody has answered."""
        if self._pressed_at is not None:
            raise Pressed

    def sleep(self, seconds: float) -> None:
        """Wait; a Ctrl-C is Pressed at once."""
        self.look()
        select.select([self._wake], [], [], seconds)
        self.look()

    def question(self, text: str) -> str | None:
        """The answer of the person at the terminal; None when it is Ctrl-C or the end of input."""
        sys.stderr.write(text)
        sys.stderr.flush()
        ready, _, _ = select.select([sys.stdin, self._wake], [], [])
        if self._wake in ready:
            return None
        line = os.read(sys.stdin.fileno(), 4096)
        return line.decode("utf-8", "replace").strip().lower() if line else None

    def answered(self) -> None:
        """Forget the presses so far: they were heeded."""
        # In this order: a press in between is not lost, as every wait looks before it waits.
        self._pressed_at = None
        while select.select([self._wake], [], [], 0)[0]:
            os.read(self._wake, 4096)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._pressed_at is not None and now - self._pressed_at > UNHEARD_S:
            raise KeyboardInterrupt
        self._pressed_at = self._pressed_at or now
        try:
            os.write(self._press, b"!")
        except BlockingIOError:
            return
