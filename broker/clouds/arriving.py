"""A file on its way from a guest: whole or not at all, and only while there is room for it.

How much a guest sends is up to the guest; the disk here is not only for it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mlbroker.broker.clouds.interface import Denied
from mlbroker.broker.guest.archives import no_room, room_below, why_of

# How often the room is looked at.
_EVERY_BYTES = 16 << 20


class Arriving:
    """What has come so far."""

    def __init__(self, file: BinaryIO, target: Path, most_bytes: int | None) -> None:
        self._file = file
        self._most_bytes = most_bytes
        self._target = target
        self._look_at = 0
        self.written = 0

    def write(self, data: bytes) -> int:
        """Some more of it; an OSError when the disk has none to spare.

        Denied when it is more than was paid for.
        """
        if self._most_bytes is not None and self.written + len(data) > self._most_bytes:
            grown = f"it is longer than the {self._most_bytes:,} bytes that it was"
            raise Denied(grown, where=str(self._target))
        if self.written + len(data) > self._look_at:
            room = room_below(str(self._target.parent))
            if room < len(data):
                raise no_room("more of it", len(data), room)
            self._look_at = self.written + min(room, _EVERY_BYTES)
        self._file.write(data)
        self.written += len(data)
        return len(data)


@contextmanager
def arriving(target: Path, most_bytes: int | None = None) -> Iterator[Arriving]:
    """Takes what is written to it to `target`, in the end; nothing is there when nothing came."""
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(part, "wb") as file:
            sink = Arriving(file, target, most_bytes)
            yield sink
        if sink.written:
            part.replace(target)
    except OSError as error:
        raise Denied(f"it cannot be copied: {why_of(error)}", where=str(target)) from error
    finally:
        part.unlink(missing_ok=True)
