"""Files that a command writes for the user: an existing one is overwritten only when told."""

import os
from pathlib import Path

from mlbroker.broker.errors import InputError


def write_file(path: Path, text: str, force: bool) -> None:
    """Write a new file; with `force` also in place of one."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with os.fdopen(os.open(path, flags, 0o666), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError("exists already", where=str(path), hint="--force overwrites it") from None
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=str(path)) from None
