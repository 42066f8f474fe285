"""Step numbers in lines of output, made into one growing count.

`profile` counts with it, in the agent, and `run`, on its machine: the guest's folder holds this
same file by a link. Python 3.8, standard library.
"""

import re
from typing import Dict, List, NamedTuple, Optional

MAX_LINE = 4096
_MARKER = re.compile(rb"::mlbroker\s+step=(\d{1,15})(?!\d)(?:/(\d{1,15})(?!\d))?")
_MOST_DIGITS = 15
# The job's own word on its gradient noise, and the batch that it saw it at, both in samples.
_NOISE = re.compile(rb"::mlbroker\s+noise=(\S{1,24})\s+batch=(\d{1,12})(?!\S)")


class OutputStep(NamedTuple):
    """A step number in the output, with the total where it was printed too (else 0)."""

    source: str
    done: int
    total: int


def noise_in(line: bytes) -> Optional[str]:
    """Noise and batch as the job prints them in this line: what is no number is sorted out where
    it is read. None where it says nothing of them.
    """
    told = _NOISE.search(line[:MAX_LINE]) if b"::mlbroker" in line else None
    return b" ".join(told.groups()).decode("ascii", "replace") if told else None


class StepLines:
    """Reads lines, of which only the first `MAX_LINE` bytes count.

    `progress` is the user's own pattern, with the number as `(?P<step>…)` or group 1.
    """

    def __init__(self, progress: Optional[str]) -> None:
        self._progress = re.compile(progress) if progress else None
        self._counts: Dict[str, Restarts] = {"regex": Restarts(), "marker": Restarts()}

    def read(self, line: bytes) -> List[OutputStep]:
        """The step numbers in this line, at most one of each kind: the user's pattern first."""
        line = line[:MAX_LINE]
        found: List[Optional[OutputStep]] = []
        if self._progress is not None:
            text = self._progress.search(line.decode("utf-8", "replace"))
            if text:
                number = _group(text, "step") or (text.group(1) if text.re.groups else None)
                if number is not None and _is_number(number.strip()):
                    total = _group(text, "total") or ""
                    whole = int(total) if _is_number(total) else 0
                    found.append(self._counts["regex"].seen("regex", int(number), whole))
        if b"::mlbroker" in line:
            match = _MARKER.search(line)
            if match:
                whole = int(match.group(2) or 0)
                found.append(self._counts["marker"].seen("marker", int(match.group(1)), whole))
        return [step for step in found if step is not None]


class Restarts:
    """Turns step numbers that begin anew in every epoch into one growing count."""

    def __init__(self) -> None:
        self._offset = 0
        self._last = 0
        self._fell = False
        self._total = 0

    def seen(self, source: str, number: int, total: int) -> Optional[OutputStep]:
        """The number as part of one count; None where it only counts down (what is left to do).

        A total that was passed before is an epoch's.
        """
        # Not every line needs to tell it.
        total = self._total = total or self._total
        last, self._last = self._last, number
        fell, self._fell = self._fell, number < last
        if number < last:
            # An epoch begins with a small number, and its next one is larger.
            if fell or number > last / 2:
                return None
            self._offset += max(last, total)
        return OutputStep(source, self._offset + number, 0 if self._offset else total)


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= _MOST_DIGITS


def _group(match: "re.Match[str]", name: str) -> Optional[str]:
    return match.group(name) if name in match.re.groupindex else None
