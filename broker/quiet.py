"""Keeps a library from writing where results go."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def nothing_on_stdout() -> Iterator[None]:
    """HiGHS 1.12 prints a line of its own now and then, also when it is told to be quiet."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
