"""Counts the steps of this process for whoever follows them: `mlbroker profile` or `run`.

One file for each source and process, lines of text:
`TIME_NS COUNT TOTAL WAITED_NS` (total 0: unknown), and `# KEY VALUE` for what else is seen.
Times are of the monotonic clock, which all processes of a machine share.
"""

import atexit
import functools
import os
import re
import sys
import time
from typing import Any, Callable, List, Optional
from weakref import WeakSet

# Faster steps are counted but not each written: writing costs some microseconds. A run, which may
# last for weeks, asks for fewer.
MIN_GAP_NS = int(float(os.environ.get("MLBROKER_PROBE_EVERY_S") or 0.001) * 1e9)


def harmless(hook: Callable[..., Any]) -> Callable[..., Any]:
    """A hook whose failure is told, and no failure of the job."""

    @functools.wraps(hook)
    def safely(*args: Any) -> Any:
        try:
            return hook(*args)
        except Exception as error:
            sys.stderr.write("mlbroker: %s fails, and is ignored: %r\n" % (hook.__name__, error))
            return None

    return safely


class Counter:
    """The count of one source in this process: how many steps are done, of how many.

    `waited_s` is how long the loop waited for its data.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.count = 0
        self.total: Optional[int] = None
        self.waited_s = 0.0
        self._offset = 0
        self._written = -1
        self._next_ns = 0
        self._last_ns = 0
        self._file: Optional[int] = None
        self._notes: List[str] = []
        _counters.add(self)

    def begin(self) -> None:
        """The loop is entered: the first step starts now."""
        if self.count == 0:
            self._write(time.monotonic_ns())

    def enter(self, steps: Optional[int], loop: Optional[str]) -> None:
        """A loop of so many steps is entered. All of the job's, unless it comes here again."""
        self.total = steps if self.count == 0 and loop is None else None
        if loop is not None and steps and self.count == 0:
            self.note("epoch", "%d steps each time that %s comes here" % (steps, loop))
        self.begin()

    def add(self, steps: int) -> None:
        """So many more steps are done."""
        self.count += steps
        now = self._last_ns = time.monotonic_ns()
        if now >= self._next_ns or self.count == self.total:
            self._write(now)

    def reach(self, number: int) -> None:
        """Step `number` is done. A smaller number than before starts a new epoch."""
        if number + self._offset < self.count:
            self._offset = self.count
        self.add(number + self._offset - self.count)

    def note(self, key: str, value: object) -> None:
        """Something to know beside the steps. Kept back until this process has made a step."""
        line = "# %s %s\n" % (key, re.sub(r"\s+", " ", str(value))[:200])
        if self._file is None:
            self._notes.append(line)
        else:
            self._append(line)

    def announce(self, key: str, value: object) -> None:
        """Something to know at once, even if this process never makes a step."""
        if self._file is None:
            self._open()
        self.note(key, value)

    def flush(self) -> None:
        """Write the count if the last steps were too fast to be written."""
        if self.count != self._written and self._written >= 0:
            self._write(self._last_ns)

    def forget(self) -> None:
        """This is a forked child: its steps are another process's."""
        self._file = None
        self._written = -1
        self.count = 0

    def _write(self, now: int) -> None:
        waited = int(self.waited_s * 1e9)
        line = "%d %d %d %d\n" % (now, self.count, self.total or 0, waited)
        if self._file is None or self._is_removed():
            self._open()
            line = "".join(self._notes) + line
            self._notes = []
        self._append(line)
        self._written = self.count
        self._next_ns = now + MIN_GAP_NS

    def _open(self) -> None:
        folder = os.environ.get("MLBROKER_PROBE_DIR", "")
        name = re.sub(r"[^A-Za-z0-9_.:@-]", "_", self.source)[-80:]
        path = os.path.join(folder, "%s.%d" % (name, os.getpid()))
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            # The job must run on even when nobody can listen.
            sys.stderr.write("mlbroker: steps cannot be counted: %s\n" % error)
            self._file = -1

    def _is_removed(self) -> bool:
        """Whether a follower took this process for ended, whose processes have other numbers."""
        return self._file is not None and self._file >= 0 and not os.fstat(self._file).st_nlink

    def _append(self, line: str) -> None:
        if self._file is not None and self._file >= 0:
            try:
                os.write(self._file, line.encode("utf-8", "replace"))
            except OSError:
                self._file = -1


_counters: "WeakSet[Counter]" = WeakSet()


def _flush_all() -> None:
    for counter in list(_counters):
        counter.flush()


def _forget_all() -> None:
    for counter in list(_counters):
        counter.forget()


atexit.register(_flush_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
