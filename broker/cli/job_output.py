"""A job's output where a person sees it: its lines and colours, and nothing else that a terminal
obeys. What goes elsewhere stays as it is, byte by byte.
"""

import codecs
import os
import re
from typing import TextIO

from mlbroker.broker.output import clean

_COLOUR = r"\x1b\[[0-9;:]*m"
# Titles, clipboards, hyperlinks and the like, to their end or the line's; then what moves the
# cursor or clears the screen; then whatever else begins with an escape.
_ORDERS = re.compile(
    rf"(?P<colour>{_COLOUR})|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]?"
    r"|\x1b[ -/]*[0-~]?|[\x00\x07\x0b\x0c\x0e\x0f]"
)
_RESET = "\x1b[0m"
# Of a line that does not end no more is held back.
_LONGEST = 1 << 16


class JobLines:
    """Bytes, as they come in -> lines that a terminal may be given.

    Of a line that was written over, as a bar does by a carriage return or backspaces, the last
    state counts.
    """

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._open = ""

    def read(self, data: bytes) -> list[str]:
        """The lines that are complete by now, without their ends."""
        *lines, rest = (self._open + self._decode(data)).split("\n")
        # Only its last state will be shown; a carriage return at its end may belong to a line's.
        rest = rest[rest.rstrip("\r").rfind("\r") + 1 :]
        if len(rest) > _LONGEST:
            lines.append(rest)
            rest = ""
        self._open = rest
        return [_safe(line) for line in lines]

    @property
    def unfinished(self) -> str:
        """The last line as far as it is there, without colours."""
        return re.sub(_COLOUR, "", _safe(self._open))


def in_lines(text: str) -> str:
    """The same of a text that is all there."""
    return "\n".join(JobLines().read(f"{text}\n".encode()))


class JobOutput:
    """Passes a job's output on to `stream`. With `alone`, nobody else writes there: on a terminal
    a line that goes on is shown as far as it is, and written anew.
    """

    def __init__(self, stream: TextIO, *, alone: bool = False) -> None:
        self._stream = stream
        self._lines = JobLines() if stream.isatty() else None
        self._rewrites = alone and os.environ.get("TERM") != "dumb"
        self._begun = False

    def write(self, data: bytes) -> None:
        """The next bytes of the output."""
        if self._lines is None:
            self._stream.buffer.write(data)
        else:
            lines = self._lines.read(data)
            text = "".join(f"{line}\n" for line in lines)
            if self._rewrites:
                text = self._over() + text + self._begin(self._lines.unfinished)
            self._stream.write(text)
        self._stream.flush()

    def close(self) -> None:
        """All came: what follows begins on a line of its own."""
        if self._lines is not None and (rest := self._lines.unfinished):
            self._stream.write("\n" if self._begun else f"{rest}\n")
            self._stream.flush()
            self._lines, self._begun = JobLines(), False

    def _over(self) -> str:
        """Back to the beginning of a line that was begun, which is the job's."""
        return "\r\x1b[K" if self._begun else ""

    def _begin(self, line: str) -> str:
        import shutil  # brings compressors along, which few commands need

        self._begun = bool(line)
        # On one row, so that it can be written over.
        return line.expandtabs()[: max(1, shutil.get_terminal_size().columns - 1)]


def _safe(line: str) -> str:
    """A line in its last state; what a terminal would obey is gone, save for colours."""
    line = line.rstrip("\r").rpartition("\r")[2]
    if line.isascii() and line.isprintable():
        return line
    parts: list[str] = []
    coloured, at = False, 0
    for order in _ORDERS.finditer(line):
        parts.append(clean(_without_backspaces(line[at : order.start()])))
        at = order.end()
        if order["colour"]:
            coloured = True
            parts.append(order["colour"])
    parts.append(clean(_without_backspaces(line[at:])))
    return "".join(parts) + (_RESET if coloured else "")


def _without_backspaces(text: str) -> str:
    if "\b" not in text:
        return text
    kept: list[str] = []
    for sign in text:
        if sign != "\b":
            kept.append(sign)
        elif kept:
            kept.pop()
    return "".join(kept)
