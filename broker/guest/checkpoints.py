"""Saves the job's checkpoint folder on its period, beside the job, and puts an earlier one back."""

import os
import threading
import time
from typing import Optional, Tuple

from . import packing
from .box import CHECKPOINT, OUTPUTS, RESTORE
from .unpacking import unpack

Signature = Tuple[int, int, int]


def restore(box: str, folder: str) -> bool:
    """Unpack the checkpoint of an earlier attempt, unless the folder holds something already."""
    archive = os.path.join(box, RESTORE)
    if not os.path.exists(archive) or (os.path.isdir(folder) and os.listdir(folder)):
        return False
    os.makedirs(folder, exist_ok=True)
    with open(archive, "rb") as stream:
        unpack(stream, folder, links=True)
    return True


class Saver:
    """Copies the checkpoint folder into the box in its own thread: the kill timer never waits."""

    def __init__(self, box: str, folder: str, every_s: float) -> None:
        self._box = box
        self._folder = folder
        self._every_s = every_s
        self._next = time.monotonic() + every_s
        self._thread: Optional[threading.Thread] = None
        self._saved: Optional[Signature] = None
        self.saved_at: Optional[float] = None
        self.error: Optional[str] = None

    def tick(self) -> None:
        """Start a save when one is due and none is under way."""
        if time.monotonic() >= self._next and not (self._thread and self._thread.is_alive()):
            self._next = time.monotonic() + self._every_s
            self._thread = threading.Thread(target=self.save, daemon=True)
            self._thread.start()

    def finish(self, within_s: float) -> None:
        """A last save, for as long as there is time."""
        if self._thread:
            self._thread.join(within_s)
        last = threading.Thread(target=self.save, daemon=True)
        last.start()
        last.join(within_s)

    def save(self) -> None:
        """Write the archive beside the old one and swap them, when anything changed."""
        try:
            signature = _signature(self._folder)
            if signature[0] == 0 or signature == self._saved:
                return
            if pack(self._folder, os.path.join(self._box, CHECKPOINT)):
                self._saved = signature
                self.saved_at = time.time()
                self.error = None
        except OSError as error:
            self.error = str(error)


def pack_outputs(box: str) -> bool:
    """Archive the outputs folder, when the job left something in it."""
    folder = os.path.join(box, OUTPUTS)
    if not os.path.isdir(folder) or not os.listdir(folder):
        return False
    return pack(folder, os.path.join(box, OUTPUTS + ".tar"))


def pack(folder: str, archive: str) -> bool:
    """An archive of a folder, swapped in whole; False when the folder changed while it was read."""
    before = _signature(folder)
    temporary = archive + ".tmp"
    with open(temporary, "wb") as stream:
        packing.pack(folder, stream, links=True)
    if _signature(folder) != before:
        # A file was half written while it was copied: the copy may be torn, the old one is whole.
        os.unlink(temporary)
        return False
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, archive)
    return True


def _signature(folder: str) -> Signature:
    """Changes when a file in the folder does: how many, how large, how recent."""
    count = size = newest = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                found = os.stat(os.path.join(path, name))
            except OSError:
                continue
            count, size = count + 1, size + found.st_size
            newest = max(newest, found.st_mtime_ns)
    return count, size, newest
