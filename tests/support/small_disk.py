"""A disk of a few megabytes that a test may fill and free: a file system of its own in memory.

It needs a mount, so a process that has one lives in name spaces of its own: as root, or as anybody
where the kernel lets users have them. Elsewhere the limit on the size of files stands for the disk:
from a moment on, no file grows any more.
"""

import ctypes
import os
import resource
from contextlib import suppress
from pathlib import Path

from tests.support.mlbroker import processes_with

_NEW_MOUNTS, _NEW_USERS = 0x20000, 0x10000000
_REMOUNT, _RECURSIVE_PRIVATE, _DETACH = 1 << 5, (1 << 14) | (1 << 18), 2
_LIBC = ctypes.CDLL(None, use_errno=True)


def enter_own_mounts() -> bool:
    """Let this process, and those it starts, mount what nobody else sees; False where it may not.

    Only for a process of one thread, as a fresh fork is.
    """
    user, group = os.getuid(), os.getgid()
    if user == 0 and _LIBC.unshare(_NEW_MOUNTS) == 0:
        return _LIBC.mount(None, b"/", None, _RECURSIVE_PRIVATE, None) == 0
    if _LIBC.unshare(_NEW_MOUNTS | _NEW_USERS) != 0:
        return False
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    except OSError:
        return False
    return _LIBC.mount(None, b"/", None, _RECURSIVE_PRIVATE, None) == 0


class SmallDisk:
    """The disk below `folder`. Without a mount, `marker` tells whose files grow no more."""

    def __init__(self, folder: Path, megabytes: float, marker: str, *, mounted: bool) -> None:
        self.folder = folder
        self._marker = marker
        self._mounted = mounted
        self._filler = folder / "filler"
        self._megabytes = megabytes
        folder.mkdir(parents=True, exist_ok=True)
        if mounted:
            self._mount(0)

    def _mount(self, flags: int) -> None:
        options = f"size={int(self._megabytes * 1024)}k,mode=0700".encode()
        if _LIBC.mount(b"small", os.fsencode(self.folder), b"tmpfs", flags, options) != 0:
            raise OSError(ctypes.get_errno(), "cannot mount", str(self.folder))

    def grow(self) -> None:
        """Somebody makes room, whatever it was that took it all."""
        if self._mounted:
            self._megabytes += 1
            self._mount(_REMOUNT)

    def fill(self) -> None:
        """Somebody else takes all that is left."""
        if not self._mounted:
            self._limit(0)
            return
        with suppress(OSError), open(self._filler, "wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with suppress(OSError):
                    while file.write(b"x" * size) == size:
                        pass

    def free(self) -> None:
        """And gives it back."""
        if self._mounted:
            self._filler.unlink(missing_ok=True)
        else:
            self._limit(resource.RLIM_INFINITY)

    def gone(self) -> None:
        """Take it away, whoever still uses it."""
        if self._mounted:
            _LIBC.umount2(os.fsencode(self.folder), _DETACH)

    def _limit(self, size: int) -> None:
        for pid in processes_with(self._marker):
            with suppress(OSError):
                hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
