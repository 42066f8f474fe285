"""Unpacks archives that nobody vouches for, and nothing outside the folder they go to.

Nothing in an archive is followed on its way to the disk: each name is walked from an open folder
downwards, and links, where they are wanted, are made last of all.
"""

import contextlib
import errno
import os
from typing import Dict, List, NamedTuple, Optional, Tuple

from .archives import MOST_MEMBERS, LeftOut, fault_of, inside, no_room, room_below, shown, why_of
from .tar_reader import FILE, FOLDER, LINK, BadArchive, Member, Readable, TarReader

# Of links and folders, whose names are kept in memory until all files are there.
REMEMBERED_BYTES = 64 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# The disk's own troubles end the unpacking; any other is the matter of one member.
_NO_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE}

Parts = Tuple[bytes, ...]


class Unpacked(NamedTuple):
    """What came out of an archive; what was left in it; what its maker had not put into it."""

    files: int
    left_out: LeftOut
    missing: LeftOut


def unpack(stream: Readable, folder: str, links: bool = False) -> Unpacked:
    """Unpack into a folder that is there; a member that may not be unpacked is left out.

    `links`: keep symbolic links that cannot lead out; without, none. Raises BadArchive where the
    archive makes no sense any more, OSError where the disk is full: what came before stays.
    """
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _Unpacking(top, links).run(TarReader(stream))
    finally:
        os.close(top)


def holds_files(stream: Readable) -> bool:
    """Whether there is anything in an archive, as far as it can be read."""
    try:
        return any(member.kind == FILE for member in TarReader(stream))
    except (BadArchive, OSError):
        return False


class _Unpacking:
    """One archive on its way into the folder that is open as `top`."""

    def __init__(self, top: int, links: bool) -> None:
        self._top = top
        self._keeps_links = links
        self._left_out = LeftOut()
        self._missing = LeftOut()
        self._files = self._made = self._remembered = 0
        self._links: List[Tuple[Parts, bytes]] = []
        self._folders: Dict[Parts, Tuple[int, int]] = {}
        # The folder that the last member went to: the next mostly goes there too.
        self._at: Parts = ()
        self._open = os.dup(top)

    def run(self, archive: TarReader) -> Unpacked:
        """All of it."""
        try:
            for member in archive:
                self._missing.learn(member.note)
                parts = tuple(p for p in member.name.split(b"/") if p not in (b"", b"."))
                if parts or member.kind != FOLDER:
                    with _Leaving(self._left_out, member.name):
                        self._take(archive, member, parts)
            for parts, target in self._links:
                with _Leaving(self._left_out, b"/".join(parts)):
                    self._count()
                    os.symlink(target, parts[-1], dir_fd=self._folder(parts[:-1]))
            # The innermost first, and when all is in them: some may not be written to any more.
            for parts in sorted(self._folders, reverse=True):
                with _Leaving(self._left_out, b"/".join(parts)):
                    _dress(self._folder(parts), *self._folders[parts], least=0o700)
        finally:
            os.close(self._open)
        return Unpacked(self._files, self._left_out, self._missing)

    def _take(self, archive: TarReader, member: Member, parts: Parts) -> None:
        fault = fault_of(member.name)
        if fault is None and member.kind not in (FILE, FOLDER):
            kept = self._keeps_links and member.kind == LINK and self._remembers(member)
            target = inside(len(parts) - 1, member.target) if kept else None
            if target is not None:
                self._links.append((parts, target))
                return
            fault = "a link" if member.kind == LINK else "neither file nor folder"
        if fault is not None:
            self._left_out.add(member.name, fault)
        elif member.kind == FOLDER:
            self._folder(parts)
            if self._remembers(member):
                self._folders[parts] = (member.mode, member.mtime)
        else:
            self._file(archive, member, parts)

    def _file(self, archive: TarReader, member: Member, parts: Parts) -> None:
        self._count()
        room = room_below(self._top)
        if member.size > room:
            raise no_room(shown(member.name), member.size, room)
        folder = self._folder(parts[:-1])
        with contextlib.suppress(FileNotFoundError):
            os.unlink(parts[-1], dir_fd=folder)
        file = os.open(parts[-1], _NEW, 0o600, dir_fd=folder)
        try:
            for chunk in archive.content():
                _write(file, chunk)
            _dress(file, member.mode, member.mtime, least=0o400)
        except BaseException:
            os.unlink(parts[-1], dir_fd=folder)
            raise
        finally:
            os.close(file)
        self._files += 1

    def _folder(self, parts: Parts) -> int:
        """The folder of this path, open; made where it is not there."""
        if parts != self._at:
            self._move(os.dup(self._top), ())
            for part in parts:
                try:
                    inner = os.open(part, _FOLDER, dir_fd=self._open)
                except FileNotFoundError:
                    self._count()
                    os.mkdir(part, 0o700, dir_fd=self._open)
                    inner = os.open(part, _FOLDER, dir_fd=self._open)
                self._move(inner, (*self._at, part))
        return self._open

    def _remembers(self, member: Member) -> bool:
        self._remembered += 500 + len(member.name) + len(member.target)
        return self._remembered < REMEMBERED_BYTES

    def _move(self, folder: int, parts: Parts) -> None:
        os.close(self._open)
        self._open, self._at = folder, parts

    def _count(self) -> None:
        self._made += 1
        if self._made > MOST_MEMBERS:
            raise BadArchive("more than {:,} files and folders".format(MOST_MEMBERS))


class _Leaving:
    """What goes wrong in here leaves this one out, unless it is the disk's or the archive's."""

    def __init__(self, left_out: LeftOut, name: bytes) -> None:
        self._left_out = left_out
        self._name = name

    def __enter__(self) -> None:
        return

    def __exit__(self, _: object, error: Optional[BaseException], __: object) -> bool:
        if not isinstance(error, OSError) or error.errno in _NO_DISK:
            return False
        self._left_out.add(self._name, why_of(error))
        return True


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _dress(file: int, mode: int, mtime: int, least: int) -> None:
    """Rights, of which the owner has the least, and no others than to read, write and enter."""
    os.fchmod(file, mode & 0o777 | least)
    try:
        os.utime(file, (mtime, mtime))
    except (OSError, OverflowError):
        # A time that this disk has no place for.
        return
