"""Answers that were worked out before: nothing is worked out twice, nor numpy loaded for it.

A cache under mlbroker's home: a file for each answer, named by all that the answer depends on. What
cannot be read or written is worked out anew, and removing the folder loses nothing.
"""

import hashlib
import json
import marshal
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from mlbroker import pricing, profiles
from mlbroker.broker.home import keep_answer
from mlbroker.broker.numbers import load_numpy

FOLDER = "answers"
# Of a plan's two kinds, for some ten jobs; the least recently worked out goes first.
KEPT = 20
# The last form of `marshal` in which equal values are equal bytes.
WITHOUT_REFERENCES = 2


class Answers:
    """Implements `profiles.prediction.Memory` by files under `home`."""

    def __init__(self, home: Path) -> None:
        self._folder = home / FOLDER

    def recall(self, question: tuple[Any, ...], work_out: Callable[[], Any]) -> Any:
        """What `work_out` returns (JSON without objects), from a file if it was asked before."""
        text = marshal.dumps((question, _code()), WITHOUT_REFERENCES)
        path = self._folder / f"{hashlib.sha256(text).hexdigest()}.json"
        with suppress(OSError, ValueError):
            return json.loads(path.read_text(encoding="utf-8"))
        load_numpy()
        found = work_out()
        with suppress(OSError):
            keep_answer(path, json.dumps(found).encode(), KEPT)
        return found


@cache
def _code() -> tuple[tuple[str, int, int], ...]:
    """What tells one state of the code that answers from another: no file is written without a new
    time of change, which nothing can set back.
    """
    return tuple(
        (entry.path, entry.stat().st_ctime_ns, entry.stat().st_size)
        for package in (pricing, profiles)
        for folder, _, _ in sorted(os.walk(package.__path__[0]))
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name)
        if entry.name.endswith(".py")
    )
