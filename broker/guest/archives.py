"""What may be in an archive, and what is said of what may not: outputs, checkpoints, bundles alike.

`packing` writes them and `unpacking` takes them apart; whoever made one is not trusted.
"""

import errno
import json
import os
from typing import List, Optional

# As many files and folders as a run may leave; far fewer than fill a disk's table of files.
MOST_MEMBERS = 1_000_000
# A path has 4,096 bytes, the folder that all is unpacked into included.
NAME_BYTES, PATH_BYTES, DEPTH = 255, 3000, 64
# So much of a disk is left free: the smaller of the two.
RESERVE_BYTES, RESERVE_SHARE = 256 << 20, 0.05


class LeftOut:
    """What is missing from an archive or a folder, and why: the first by name, all counted."""

    NAMED = 20

    def __init__(self) -> None:
        self.named: List[str] = []
        self.count = 0

    def add(self, name: bytes, why: str) -> None:
        """One that stays behind."""
        self._add("{} ({})".format(shown(name), why))

    def note(self) -> bytes:
        """To go along with the archive."""
        return json.dumps({"left_out": self.named, "count": self.count}).encode()

    def learn(self, note: bytes) -> None:
        """Take over what the archive's maker left out; a note that makes no sense says nothing."""
        try:
            found = json.loads(note)
            named, count = found["left_out"][: self.NAMED], found["count"]
            for name in named:
                self._add(shown(name.encode("utf-8", "replace")))
            self.count += min(max(count - len(named), 0), MOST_MEMBERS)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return

    def __bool__(self) -> bool:
        return self.count > 0

    def __str__(self) -> str:
        more = self.count - len(self.named)
        return ", ".join(self.named) + (" and {} more".format(more) if more else "")

    def _add(self, text: str) -> None:
        self.count += 1
        if len(self.named) < self.NAMED:
            self.named.append(text)


def fault_of(name: bytes) -> Optional[str]:
    """Why nothing of this name goes into a folder; None when it may."""
    parts = name.split(b"/")
    if name.startswith(b"/") or b".." in parts:
        return "leads out of the folder"
    if b"\0" in name or all(part in (b"", b".") for part in parts):
        return "not the name of a file"
    if len(name) > PATH_BYTES or max(map(len, parts)) > NAME_BYTES or len(parts) > DEPTH:
        return "too long a name"
    return None


def inside(depth: int, target: bytes) -> Optional[bytes]:
    """The target of a link so deep in a folder, if it cannot lead out, whatever else is a link.

    It may go up first, and then only down: each step then starts from a real folder inside.
    """
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    ups = 0
    while ups < len(parts) and parts[ups] == b"..":
        ups += 1
    down = b"/".join(parts[ups:])
    if target.startswith(b"/") or ups > depth or (down and fault_of(down)):
        return None
    return b"/".join(parts) or b"."


def room_below(folder: "int | str") -> int:
    """How many bytes may still be written to the disk of a folder, by its path or as it is open."""
    disk = os.statvfs(folder)
    reserve = min(RESERVE_BYTES, int(disk.f_blocks * disk.f_frsize * RESERVE_SHARE))
    return disk.f_bavail * disk.f_frsize - reserve


def no_room(what: str, needed: int, room: int) -> OSError:
    """Said before a disk is full."""
    text = "{} needs {:,} bytes of disk, {:,} may be used".format(what, needed, max(0, room))
    return OSError(errno.ENOSPC, text)


def why_of(error: OSError) -> str:
    return error.strerror or type(error).__name__


def shown(name: bytes) -> str:
    """A name for people: on one line, and not longer than they read."""
    text = name.decode("utf-8", "backslashreplace")
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= 200 else text[:100] + "..." + text[-97:]
