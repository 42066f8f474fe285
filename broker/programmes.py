"""The spot policy's programmes that were solved before, kept from one call to the next.

A cache under mlbroker's home, as the answers are (`evidence.answers`): a file for each programme,
named by its question and by the code that solves it. What cannot be read or written, or is damaged,
is solved anew, and removing the folder loses nothing.
"""

import hashlib
import io
import os
import sys
import time
import zipfile
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np

from mlbroker.broker.home import keep_answer
from mlbroker.broker.output import say
from mlbroker.policies.spot import hazards, programme
from mlbroker.policies.spot.programme import Move, Programme, Question, solve

FOLDER = "programmes"
# Ten to thirty are of one plan, of some 100 kB each; the least recently solved goes first.
KEPT = 150
# What is noticed at a terminal.
_NOTICED_S = 0.5
_MOVES = ("idle_up", "idle_down", "demand_up", "demand_down", "spot")


class Programmes:
    """A `Solver` by files under `home`."""

    def __init__(self, home: Path) -> None:
        self._folder = home / FOLDER
        self._known: dict[Question, Programme] = {}
        self._solving_s = 0.0
        self._told = False

    def __call__(self, question: Question) -> Programme:
        """The programme, from memory, from its file, or solved now."""
        found = self._known.get(question)
        if found is None:
            path = self._folder / f"{_name(question)}.npz"
            found = _read(path)
            if found is None:
                found = self._solved(question)
                with suppress(OSError):
                    keep_answer(path, _written(found), KEPT)
            self._known[question] = found
        return found

    def _solved(self, question: Question) -> Programme:
        if self._solving_s > _NOTICED_S and not self._told and sys.stderr.isatty():
            say("Working out when to be on spot and when on demand (once) …")
            self._told = True
        began = time.perf_counter()
        found = solve(question)
        self._solving_s += time.perf_counter() - began
        return found


def _name(question: Question) -> str:
    return hashlib.sha256(repr((question, _code())).encode()).hexdigest()[:32]


@cache
def _code() -> tuple[tuple[int, int], ...]:
    """What tells one state of the code that solves from another."""
    found = (os.stat(str(module.__file__)) for module in (hazards, programme))
    return tuple((stat.st_ctime_ns, stat.st_size) for stat in found)


def _written(found: Programme) -> bytes:
    content = io.BytesIO()
    moves = np.stack([getattr(found, name) for name in _MOVES])
    np.savez_compressed(content, step_h=found.step_h, value=found.value, moves=moves)
    return content.getvalue()


def _read(path: Path) -> Programme | None:
    """None where there is none, or one that no solver wrote."""
    with suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        with np.load(path, allow_pickle=False) as content:
            step_h, value = float(content["step_h"]), content["value"]
            moves = content["moves"]
        layers, steps = value.shape
        whole = moves.shape == (len(_MOVES), layers, len(hazards.AGES_H), steps)
        typed = moves.dtype == np.int8 and value.dtype == np.float32 and steps > 1
        if (
            whole
            and typed
            and 0 < step_h < np.inf
            and moves.min() >= 0
            and moves.max() <= max(Move)
        ):
            return Programme(step_h, value, **dict(zip(_MOVES, moves, strict=True)))
    return None
