"""Reads a JSON document of any size entry by entry, in the memory of one entry.

AWS's regional price files are hundreds of megabytes of two objects with a hundred thousand
entries each; loading one whole would take gigabytes.
"""

import codecs
import json
import re
from collections.abc import Collection, Iterator
from typing import IO, Any

CHUNK_BYTES = 1 << 20
# No entry of a price file is near this size: a larger one is an attack or not a price file.
LARGEST_ENTRY = 16 << 20
_SPACE = re.compile(r"[ \t\r\n]*")


class BadStream(ValueError):
    """The text is not the JSON it should be."""


Path = tuple[str, ...]


def entries(stream: IO[bytes], containers: Collection[Path]) -> Iterator[tuple[Path, str, Any]]:
    """(path, key, value) of each entry of the objects at `containers`, in document order.

    Values elsewhere are passed over, an entry at a time.
    """
    reader = _Reader(stream)
    yield from _object(reader, (), containers)
    if reader.mark():
        raise BadStream(f"{reader.mark()!r} after the end of the document")


def _object(
    reader: "_Reader", path: Path, containers: Collection[Path]
) -> Iterator[tuple[Path, str, Any]]:
    for key in reader.members():
        inner = (*path, key)
        if any(container[: len(inner)] == inner for container in containers):
            yield from _object(reader, inner, containers)
        elif path in containers:
            yield path, key, reader.value()
        elif reader.mark() == "{":
            for _ in reader.members():
                reader.value()
        else:
            reader.value()


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

    def mark(self) -> str:
        """The next character that is no space, under the cursor; "" at the end of the document."""
        while True:
            found = _SPACE.match(self._text, self._at)
            assert found
            self._at = found.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, *expected: str) -> str:
        """The next mark, which must be one of those `expected`; the cursor is behind it then."""
        found = self.mark()
        if found not in expected:
            raise BadStream(f"{found!r} where {expected[0]!r} should be")
        self._at += 1
        return found

    def members(self) -> Iterator[str]:
        """The keys of the object under the cursor; the caller takes each one's value."""
        self.take("{")
        if self.mark() == "}":
            self.take("}")
            return
        while True:
            if self.mark() != '"':
                raise BadStream("an entry has no name")
            key: str = self.value()
            self.take(":")
            yield key
            if self.take(",", "}") == "}":
                return

    def value(self) -> Any:
        """The value under the cursor, whole."""
        self.mark()
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

    def _more(self) -> bool:
        if self._ended:
            return False
        chunk = self._stream.read(CHUNK_BYTES)
        self._ended = not chunk
        try:
            text = self._characters.decode(chunk, final=self._ended)
        except UnicodeDecodeError:
            raise BadStream("not UTF-8") from None
        self._text = self._text[self._at :] + text
        self._at = 0
        return True
