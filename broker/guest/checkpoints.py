"""Saves the job's checkpoint folder on its period, beside the job, and puts an earlier one back."""

import contextlib
import os
import stat
import threading
import time
from typing import Dict, List, Optional, Set, Tuple

from .archives import LeftOut, no_room, room_below, why_of
from .box import CHECKPOINT, RESTORE, clear
from .packing import Packed, below, pack
from .tar_reader import BLOCK, BadArchive
from .unpacking import Unpacked, unpack

# A save that something was written into is tried again, for so long, and no longer than so many
# periods; then a checkpoint is taken whose files are each whole, or only grow, as a log does.
PATIENCE_S, PATIENCE_PERIODS = 60.0, 3
# Between two tries: at least this, and so many times what one took.
AGAIN_S, AGAIN_TIMES = 1.0, 4

# How large a file is, how recent, and which.
Look = Tuple[int, int, int]


def restore(box: str, folder: str, name: str, repeated: bool) -> List[str]:
    """Unpack the checkpoint of an earlier try, unless the folder holds something already.

    Tells in lines for the log what became of it. Raises BadArchive, with the folder as it was.
    """
    archive = os.path.join(box, RESTORE)
    if not os.path.exists(archive):
        return ["no earlier try left a checkpoint: starting from nothing"] if repeated else []
    if os.path.isdir(folder) and os.listdir(folder):
        return [f"the checkpoint is not restored: {name} holds files already, which are newer"]
    os.makedirs(folder, exist_ok=True)
    try:
        with open(archive, "rb") as stream:
            found = unpack(stream, folder, links=True)
    except (BadArchive, OSError):
        # Half a checkpoint would be taken for a whole one by the next try.
        with contextlib.suppress(OSError):
            clear(folder)
        raise
    return _told(found, name)


def _told(found: Unpacked, name: str) -> List[str]:
    lines = [f"checkpoint restored to {name}"]
    if not found.files:
        lines = ["the checkpoint holds no files: starting from nothing"]
    if found.missing:
        lines.append(f"not in the checkpoint: {found.missing}")
    if found.left_out:
        lines.append(f"left out of {name}: {found.left_out}")
    return lines


class Saver:
    """Copies the checkpoint folder into the box in its own thread: the kill timer never waits.

    `notes` are lines for the log, to be taken out by who writes it. `fault` is why the last save
    came to nothing, None when it did not.
    """

    def __init__(self, box: str, folder: str, every_s: float) -> None:
        self._box = box
        self._folder = folder
        self._every_s = every_s
        self._next = time.monotonic() + every_s
        self._thread: Optional[threading.Thread] = None
        self._saved: Dict[bytes, Look] = {}
        self._logs: Set[bytes] = set()
        self._fails_since: Optional[float] = None
        self._noted: Set[str] = set()
        self.saved_at: Optional[float] = None
        self.fault: Optional[str] = None
        self.notes: List[str] = []

    def tick(self) -> None:
        """Start a save when one is due and none is under way."""
        if time.monotonic() >= self._next and not (self._thread and self._thread.is_alive()):
            self._next = time.monotonic() + self._every_s
            self._thread = threading.Thread(target=self.save, daemon=True)
            self._thread.start()

    def finish(self, within_s: float) -> None:
        """A last save, for as long as there is time."""
        until = time.monotonic() + within_s
        if self._thread:
            self._thread.join(within_s)
        last = threading.Thread(target=self.save, args=(True,), daemon=True)
        last.start()
        last.join(max(0.0, until - time.monotonic()))

    def save(self, last: bool = False) -> None:
        """Write the archive beside the old one and swap them, when anything changed.

        That there is nothing to save is a fault where more was expected: not at the `last` save.
        """
        archive = os.path.join(self._box, CHECKPOINT)
        temporary = archive + ".tmp"
        began = time.monotonic()
        try:
            before = looks(self._folder)
            if not before:
                if not last:
                    self._fail("no checkpoint is saved: its folder holds no file so far")
                return
            if before == self._saved:
                self.fault = None
                return
            self._needs_room(before)
            with open(temporary, "wb") as stream:
                packed = pack(self._folder, stream, links=True)
                stream.flush()
                os.fsync(stream.fileno())
            if not self._is_whole(packed, before, looks(self._folder)):
                # The copy may be torn, and the one before is not.
                os.unlink(temporary)
                took_s = time.monotonic() - began
                again_s = min(self._every_s, max(AGAIN_S, AGAIN_TIMES * took_s))
                self._next = time.monotonic() + again_s
                return
            os.replace(temporary, archive)
            self._saved, self._fails_since, self.fault = before, None, None
            self.saved_at = time.time()
            if packed.left_out:
                self._note(f"left out of the checkpoint: {packed.left_out}")
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            self._fail(f"the checkpoint was not saved: {why_of(error)}")

    def _is_whole(
        self, packed: Packed, before: Dict[bytes, Look], after: Dict[bytes, Look]
    ) -> bool:
        """Whether the archive holds the folder as it was at one moment, as far as can be told."""
        changed = {n for n in before.keys() | after.keys() if before.get(n) != after.get(n)}
        grew = {n for n in changed & before.keys() & after.keys() if _grew(before[n], after[n])}
        if not packed.torn and changed <= grew & self._logs:
            return True
        now = time.monotonic()
        self._fails_since = now if self._fails_since is None else self._fails_since
        if now - self._fails_since < min(PATIENCE_S, PATIENCE_PERIODS * self._every_s):
            return False
        if packed.torn:
            names = LeftOut()
            for name in sorted(packed.torn):
                names.add(name, "written to all the time")
            self._fail(f"no checkpoint could be saved for a while: {names}")
            return False
        self._logs |= grew
        return True

    def _needs_room(self, found: Dict[bytes, Look]) -> None:
        """A copy must not take the last of the disk from the job."""
        needed = sum(size + 2 * BLOCK for size, _, _ in found.values())
        room = room_below(self._box)
        if needed > room:
            raise no_room("a copy of the checkpoint", needed, room)

    def _fail(self, text: str) -> None:
        """Told again when saves went well in between."""
        if text != self.fault:
            self.notes.append(text)
        self.fault = text

    def _note(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self.notes.append(text)


def looks(folder: str) -> Dict[bytes, Look]:
    """Every file in the folder; equal ones say that nothing was written in between."""
    found = {}
    for name, each in below(os.fsencode(folder), LeftOut()):
        if not stat.S_ISDIR(each.st_mode):
            found[name] = (each.st_size, each.st_mtime_ns, each.st_ino)
    return found


def _grew(before: Look, after: Look) -> bool:
    return after[0] > before[0] and after[2] == before[2]
