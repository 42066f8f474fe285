"""Packs a folder into an archive: straight into a stream, whatever becomes of a file meanwhile."""

import os
import stat
import tarfile
from typing import Iterator, NamedTuple, Optional, Protocol, Set, Tuple

from .archives import LeftOut, fault_of, why_of
from .tar_reader import BLOCK

_CHUNK = 1 << 20
# Reading never waits for somebody to write to a pipe.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Writable(Protocol):
    """Where an archive goes to."""

    def write(self, data: bytes) -> object: ...


class Packed(NamedTuple):
    """What went in. `grew` and `torn` are files that were written to while they were read."""

    files: int
    left_out: LeftOut
    grew: Set[bytes]
    torn: Set[bytes]


def pack(folder: str, stream: Writable, links: bool = False) -> Packed:
    """Write an archive of what is in a folder, in a fixed order, with nothing but the stream.

    `links`: keep symbolic links that stay inside, and leave out others; without, links to files
    travel as these files. What cannot be read is left out, and named in the archive itself.
    """
    packer = Packer(stream)
    pack_below(packer, folder, links)
    packer.close()
    return Packed(packer.files, packer.left_out, packer.grew, packer.torn)


def pack_below(packer: "Packer", folder: str, links: bool = False) -> None:
    """The same, into an archive that holds other things too."""
    top = os.fsencode(folder)
    for name, found in below(top, packer.left_out):
        path = os.path.join(top, name)
        if stat.S_ISLNK(found.st_mode) and links:
            target = target_inside(top, name)
            if target is None:
                packer.left_out.add(name, "a link that leads out of the folder")
            else:
                packer.link(name, found, target)
        elif stat.S_ISDIR(found.st_mode):
            packer.folder(name, found)
        else:
            packer.file(name, path, follow=not links)


class Packer:
    """Writes an archive member by member. Names are relative, and the bytes that the disk has."""

    def __init__(self, stream: Writable) -> None:
        self._stream = stream
        self.left_out = LeftOut()
        self.files = 0
        self.grew: Set[bytes] = set()
        self.torn: Set[bytes] = set()

    def folder(self, name: bytes, found: os.stat_result) -> None:
        """A folder, by itself."""
        self._header(name, found, tarfile.DIRTYPE)

    def link(self, name: bytes, found: os.stat_result, target: bytes) -> None:
        """A symbolic link."""
        self._header(name, found, tarfile.SYMTYPE, target=target)
        self.files += 1

    def file(self, name: bytes, path: bytes, follow: bool = False) -> None:
        """A file's content; another name of it is packed again, as a file."""
        try:
            file = os.open(path, _READ | (0 if follow else os.O_NOFOLLOW))
        except OSError as error:
            self.left_out.add(name, why_of(error))
            return
        try:
            before = os.fstat(file)
            if not stat.S_ISREG(before.st_mode):
                self.left_out.add(name, "not a plain file")
                return
            self._header(name, before, tarfile.REGTYPE, before.st_size)
            why = self._content(file, before.st_size)
            after = os.fstat(file)
        finally:
            os.close(file)
        self.files += 1
        if why is not None:
            self.left_out.add(name, why)
            self.torn.add(name)
        elif after.st_size > before.st_size:
            self.grew.add(name)
        elif (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            self.torn.add(name)

    def data(self, name: bytes, content: bytes) -> None:
        """A file that is on no disk."""
        self._header(name, None, tarfile.REGTYPE, len(content))
        self._stream.write(content + bytes(-len(content) % BLOCK))
        self.files += 1

    def close(self) -> None:
        """The end, and what was left out."""
        if self.left_out:
            entry = tarfile.TarInfo(".")
            entry.type, entry.mode = tarfile.DIRTYPE, 0o700
            entry.pax_headers = {"comment": self.left_out.note().decode()}
            self._stream.write(entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
        self._stream.write(bytes(2 * BLOCK))

    def _header(
        self,
        name: bytes,
        found: Optional[os.stat_result],
        kind: bytes,
        size: int = 0,
        target: bytes = b"",
    ) -> None:
        # Names pass through as the bytes they are.
        entry = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
        entry.type, entry.size = kind, size
        entry.linkname = target.decode("utf-8", "surrogateescape")
        if found is not None:
            entry.mode, entry.mtime = found.st_mode & 0o755, max(0, int(found.st_mtime))
        self._stream.write(entry.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))

    def _content(self, file: int, size: int) -> Optional[str]:
        """So many bytes, whatever the file has: why some are zeros, None when none had to be."""
        left, why = size, None
        while left:
            try:
                chunk = b"" if why else os.read(file, min(_CHUNK, left))
            except OSError as error:
                chunk, why = b"", "cut off: " + why_of(error)
            if not chunk:
                why = why or "it shrank while it was read"
                chunk = bytes(min(_CHUNK, left))
            self._stream.write(chunk)
            left -= len(chunk)
        self._stream.write(bytes(-size % BLOCK))
        return why


def below(top: bytes, left_out: LeftOut) -> Iterator[Tuple[bytes, os.stat_result]]:
    """Everything below a folder that an archive can hold, a folder before what is in it."""
    stack = [b""]
    while stack:
        name = stack.pop()
        path = os.path.join(top, name)
        try:
            found = os.lstat(path)
            is_folder = not name or stat.S_ISDIR(found.st_mode)
            inner = sorted(os.listdir(path), reverse=True) if is_folder else []
        except OSError as error:
            left_out.add(name or b".", why_of(error))
            continue
        if name:
            yield name, found
        for one in inner:
            path = os.path.join(name, one)
            fault = fault_of(path)
            if fault is None:
                stack.append(path)
            else:
                left_out.add(path, fault)


def target_inside(top: bytes, name: bytes) -> Optional[bytes]:
    """Where a link points to, from its own place; None when that is outside, or nothing."""
    real = os.path.realpath(top)
    goal = os.path.realpath(os.path.join(top, name))
    if goal != real and not goal.startswith(real + b"/"):
        return None
    return os.path.relpath(goal, os.path.join(real, os.path.dirname(name)))
