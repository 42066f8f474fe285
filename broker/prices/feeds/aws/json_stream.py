"""Reads a JSON document of any size entry by entry, in the memory of one entry.

AWS's regional price files are hundreds of megabytes of two objects with a hundred thousand
entries each; loading one whole would take gigabytes.
"""

import codecs
import json
import re
from collections.abc import Collection, Iterator
from typing import IO, Any

CHUNK = 1 << 20
# No entry of a price file is near this size: a larger one is an attack or not a price file.
LARGEST_ENTRY = 16 << 20
_SPACE = re.compile(r"[ \t\r\n]*")


class BadStream(ValueError):
    """The text is not the JSON it should be."""


def entries(
    stream: IO[bytes], containers: Collection[tuple[str, ...]]
) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """(path, key, value) of each entry of the objects at `containers`, in document order.

    Values elsewhere are passed over, a whole value at a time.
    """
    reader = _Reader(stream)
    reader.expect("{")
    yield from _object(reader, (), frozenset(containers))
    reader.end()


def _object(
    reader: "_Reader", path: tuple[str, ...], containers: frozenset[tuple[str, ...]]
) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    wanted = path in containers
    first = True
    while True:
        mark = reader.next_mark()
        if mark == "}":
            return
        if not first:
            if mark != ",":
                raise BadStream("an entry is not followed by a comma")
            mark = reader.next_mark()
        first = False
        if mark != '"':
            raise BadStream("an entry has no name")
        reader.back()
        key = reader.value()
        reader.expect(":")
        inner = (*path, key)
        if any(container[: len(inner)] == inner for container in containers):
            reader.expect("{")
            yield from _object(reader, inner, containers)
        elif wanted:
            yield path, key, reader.value()
        else:
            reader.skip()


class _Reader:
    """A window on the text that grows as far as the value under its cursor needs."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._decode = json.JSONDecoder().raw_decode
        self._text = ""
        self._at = 0
        # A chunk may end within a character.
        self._characters = codecs.getincrementaldecoder("utf-8")()
        self._ended = False

    def next_mark(self) -> str:
        """The next character that is no space; the cursor is behind it."""
        while True:
            found = _SPACE.match(self._text, self._at)
            assert found
            self._at = found.end()
            if self._at < len(self._text):
                self._at += 1
                return self._text[self._at - 1]
            if not self._more():
                raise BadStream("the document ends too early")

    def back(self) -> None:
        """One character back."""
        self._at -= 1

    def expect(self, mark: str) -> None:
        """The next character must be `mark`."""
        found = self.next_mark()
        if found != mark:
            raise BadStream(f"{found!r} where {mark!r} should be")

    def value(self) -> Any:
        """The value under the cursor, whole."""
        self.next_mark()
        self.back()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except RecursionError:
                raise BadStream("nested too deeply") from None
            except ValueError:
                end = len(self._text)
            # A number at the very end of the window may go on behind it.
            if end < len(self._text):
                self._at = end
                return value
            if len(self._text) - self._at > LARGEST_ENTRY:
                raise BadStream("an entry is too large")
            if not self._more():
                raise BadStream("the document ends too early")

    def skip(self) -> None:
        """Pass over the value under the cursor; of an object, entry by entry."""
        if self.next_mark() != "{":
            self.back()
            self.value()
            return
        mark = self.next_mark()
        while mark != "}":
            if mark == ",":
                mark = self.next_mark()
            if mark != '"':
                raise BadStream("an entry has no name")
            self.back()
            self.value()
            self.expect(":")
            self.value()
            mark = self.next_mark()

    def end(self) -> None:
        """Nothing but space may follow."""
        try:
            mark = self.next_mark()
        except BadStream:
            return
        raise BadStream(f"{mark!r} after the end of the document")

    def _more(self) -> bool:
        if self._ended:
            return False
        chunk = self._stream.read(CHUNK)
        self._ended = not chunk
        try:
            text = self._characters.decode(chunk, final=self._ended)
        except UnicodeDecodeError:
            raise BadStream("not UTF-8") from None
        self._text = self._text[self._at :] + text
        self._at = 0
        return True
