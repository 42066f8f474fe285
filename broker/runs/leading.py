"""The one client that begins the runs of a whole: of a study, or of a pipeline."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlbroker.broker.errors import InputError
from mlbroker.broker.home import private_folder
from mlbroker.broker.runs.carrier import Carrier

_LOCK = "driver"


@contextmanager
def led(folder: Path, what: str, hint: str) -> Iterator[None]:
    """Be the one client that begins runs of `what`, which keeps its own in `folder`; refused where
    another is. The kernel frees it however its client ends.
    """
    private_folder(str(folder.parent))
    private_folder(str(folder))
    path = folder / _LOCK
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            who = Carrier.of(path) or "another process"
            raise InputError(f"{what} is driven by {who}", hint=hint) from None
        Carrier.sign(lock)
        yield
    finally:
        os.close(lock)


def is_led(folder: Path) -> bool:
    """Whether a client leads it now."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False
