"""Reads tar archives that nobody vouches for: forwards only, member by member, in bounded memory.

Python's own reader takes a header's word for how much to read, and follows headers without end.
"""

import gzip
import zlib
from typing import Dict, Iterator, NamedTuple, Optional, Protocol

BLOCK = 512
# What describes a member, its path and note included; larger ones are made to exhaust memory.
HEADER_BYTES = 64 << 10
# A long path, a long link, attributes of the member and of the archive: four say all there is.
HEADERS_A_MEMBER = 8
FILE, FOLDER, LINK, OTHER = "file", "folder", "link", "other"
_CHUNK = 1 << 20
_LARGEST = 1 << 62
_KINDS = {b"0": FILE, b"\0": FILE, b"7": FILE, b"5": FOLDER, b"2": LINK}
# They have no content, whatever their size says: readers that disagree see different archives.
_EMPTY_KINDS = b"123456"


class BadArchive(ValueError):
    """It is no archive, or a torn one, or made to do harm."""


class Readable(Protocol):
    """Where an archive comes from."""

    def read(self, size: int) -> bytes: ...


class Member(NamedTuple):
    """One entry. `target` is where a link points to, `note` a comment that travels with it."""

    name: bytes
    kind: str
    size: int
    mode: int
    mtime: int
    target: bytes
    note: bytes


class TarReader:
    """An iterator over members; what of one's content is not read is skipped."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._content = 0
        self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        while True:
            for _ in self.content():
                continue
            member = self._next()
            if member is None:
                return
            yield member

    def content(self) -> Iterator[bytes]:
        """What is left of the last member's content."""
        while self._content:
            chunk = self._read(min(_CHUNK, self._content))
            self._content -= len(chunk)
            yield chunk
        self._read(self._padding)
        self._padding = 0

    def _next(self) -> Optional[Member]:
        said: Dict[str, bytes] = {}
        for _ in range(HEADERS_A_MEMBER):
            block = self._read(BLOCK)
            if block == bytes(BLOCK):
                # Of the two that end an archive one is enough.
                return None
            kind, size = _checked(block)
            if kind in b"LKxg":
                if size > HEADER_BYTES:
                    raise BadArchive("a header of {} bytes".format(size))
                data = self._read(size)
                self._read(-size % BLOCK)
                if kind == b"L":
                    said["path"] = _text(data)
                elif kind == b"K":
                    said["linkpath"] = _text(data)
                elif kind == b"x":
                    said.update(_records(data))
                continue
            return self._member(block, kind, size, said)
        raise BadArchive("more headers than members")

    def _member(self, block: bytes, kind: bytes, size: int, said: Dict[str, bytes]) -> Member:
        if "size" in said:
            if not said["size"].isdigit() or len(said["size"]) > 18:
                raise BadArchive("a size that is no number")
            size = int(said["size"])
        prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else b""
        name = _text(block[:100])
        name = said.get("path", prefix + b"/" + name if prefix else name)
        what = _KINDS.get(kind, OTHER)
        if what == FILE and name.endswith(b"/"):
            what = FOLDER
        if any(key.startswith("GNU.sparse.") for key in said):
            what = OTHER
        if kind in _EMPTY_KINDS and size:
            raise BadArchive("a link, folder or device with content")
        self._content, self._padding = size, -size % BLOCK
        target = said.get("linkpath", _text(block[157:257]))
        mode, mtime = _number(block[100:108]), _number(block[136:148])
        return Member(name, what, size, mode, mtime, target, said.get("comment", b""))

    def _read(self, size: int) -> bytes:
        parts = []
        while size:
            try:
                part = self._stream.read(size)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise BadArchive("it cannot be decompressed: {}".format(error)) from None
            if not part:
                raise BadArchive("it is cut off")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def _checked(block: bytes) -> "tuple[bytes, int]":
    """A header's kind and size, when the header is one."""
    # Its checksum counts as blanks itself.
    found = sum(block) - sum(block[148:156]) + 8 * 32
    if _number(block[148:156]) != found:
        raise BadArchive("it is no archive, or damaged")
    return block[156:157], _number(block[124:136])


def _number(field: bytes) -> int:
    """Octal digits, or a binary number whose first bit says so."""
    if field[0] == 0x80:
        number = int.from_bytes(field[1:], "big")
    else:
        digits = _text(field).strip(b" ")
        if digits.strip(b"01234567"):
            raise BadArchive("a header's number is none")
        number = int(digits or b"0", 8)
    if number > _LARGEST:
        raise BadArchive("a number beyond all bounds")
    return number


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _records(data: bytes) -> Dict[str, bytes]:
    """The attributes of a pax header: `LENGTH KEY=VALUE` and a line's end, again and again."""
    found: Dict[str, bytes] = {}
    at = 0
    while at < len(data):
        digits = data[at : at + 6].partition(b" ")[0]
        length = int(digits) if digits.isdigit() else 0
        record = data[at : at + length]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if length < 5 or len(record) < length or record[-1:] != b"\n" or not equals:
            raise BadArchive("an attribute that is none")
        found[key.decode("utf-8", "replace")] = value
        at += length
    return found
