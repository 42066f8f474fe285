"""One piece of a trial's work: the job's command in a process group, until a step or its end.

It travels to rented machines with `batch`: standard library and Python 3.8 only.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Heard = Callable[[int, float | None], None]

MARKER = re.compile(rb"::mlbroker\s+metric=(\S{1,64})\s+at=(\d{1,15})(?!\d)")
# The broker's own marker lines are of one trial: what counts the run's steps is not told them.
_STEP = b"::mlbroker step="
LONGEST_LINE = 4096
MOST_DIGITS = 15
LOOK_S = 0.05
# To save itself between SIGTERM and the kill; and to end by itself after its last step.
GRACE_S = 10.0
# What counts as the end of the output of one that was killed: a child may hold it open.
DRAIN_S = 0.5


class Worked(NamedTuple):
    """How a piece of work ended. `code` is the process's, None where it was ended by us.

    `asked`: somebody else sent SIGTERM, as a stop and the cap of the run do.
    """

    code: int | None
    seconds: float
    asked: bool = False


class Work:
    """Runs `command` in `folder`; `heard` gets each step and metric, None for what is no number."""

    def __init__(
        self,
        command: str,
        folder: str,
        environment: Mapping[str, str],
        until: int,
        last: bool,
        regex: str | None = None,
    ) -> None:
        self._until, self._last = until, last
        self._regex = None if regex is None else re.compile(regex)
        self._found = 0
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._rest = b""

    def to_its_end(self, heard: Heard, stopping: Callable[[], bool]) -> Worked:
        """Follow it until it ends, is `stopping`, or has done its steps and is ended."""
        end_at: float | None = None
        ours = asked = False
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        os.set_blocking(pipe, False)
        with selectors.DefaultSelector() as selector, self._process.stdout:
            selector.register(pipe, selectors.EVENT_READ)
            while self._process.poll() is None:
                selector.select(LOOK_S)
                done = max((self._tell(line, heard) for line in self._lines(pipe)), default=0)
                now = time.monotonic()
                if stopping() and not asked:
                    asked, ours, end_at = True, True, now + GRACE_S
                    self._signal(signal.SIGTERM)
                elif done >= self._until and end_at is None:
                    end_at = now + GRACE_S
                    # A trial that is done ends by itself, and may save its model before.
                    if not self._last:
                        ours = True
                        self._signal(signal.SIGTERM)
                elif end_at is not None and now > end_at:
                    ours = True
                    self._signal(signal.SIGKILL)
            self._signal(signal.SIGKILL)
            drained_at = time.monotonic() + DRAIN_S
            for line in self._lines(pipe, at_end=True):
                self._tell(line, heard)
                if time.monotonic() > drained_at:
                    break
        code = self._process.returncode
        asked = asked or (not ours and code in (-signal.SIGTERM, 128 + signal.SIGTERM))
        return Worked(None if ours else code, time.monotonic() - self._began, asked)

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return

    def _lines(self, pipe: int, at_end: bool = False) -> Iterator[bytes]:
        while True:
            try:
                data = os.read(pipe, 1 << 16)
            except BlockingIOError:
                data = b""
            if not data:
                break
            *whole, self._rest = (self._rest + data).split(b"\n")
            yield from whole
            if len(self._rest) > LONGEST_LINE:
                yield self._rest
                self._rest = b""
        if at_end and self._rest:
            yield self._rest

    def _tell(self, line: bytes, heard: Heard) -> int:
        """Pass the line on; the step that it tells a metric of, else zero."""
        if _STEP not in line:
            sys.stdout.buffer.write(line + b"\n")
            sys.stdout.buffer.flush()
        found = MARKER.search(line[:LONGEST_LINE])
        if found is None:
            return self._tell_found(line, heard)
        at = int(found[2])
        heard(at, _number(found[1]))
        return at

    def _tell_found(self, line: bytes, heard: Heard) -> int:
        """The same for what the study's own expression finds."""
        text = line[:LONGEST_LINE].decode("utf-8", "replace")
        found = None if self._regex is None else self._regex.search(text)
        if found is None:
            return 0
        groups = found.groupdict()
        value = groups["metric"] if "metric" in groups else _first_but(found, "at")
        said = groups.get("at") or ""
        if "at" not in groups:
            self._found += 1
        elif not (said.isascii() and said.isdigit() and len(said) <= MOST_DIGITS):
            return 0
        at = int(said or self._found)
        heard(at, _number((value or "").encode()))
        return at


def _first_but(found: re.Match[str], name: str) -> str | None:
    """The first group that is not called so."""
    other = found.re.groupindex.get(name)
    return next(found[n] for n in range(1, found.re.groups + 1) if n != other)


def _number(text: bytes) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    # No number, and infinities on both sides, are what a trial that diverged has to show.
    return value if abs(value) < float("inf") else None
