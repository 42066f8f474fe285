"""Whether the job's Pythons find the hook that counts their steps, and why not."""

import os
from typing import Iterable, List, Optional, Set

from .processes import Process

# Options of Python without which no hook is loaded, and what they say.
_DEAF = {
    "I": "-I, which ignores PYTHONPATH",
    "E": "-E, which ignores PYTHONPATH",
    "S": "-S, which loads no start-up hook",
}
_WORDS_SHOWN = 120


class Deaf:
    """Looks for the job's Pythons that do not see the probe."""

    def __init__(self, probe: str) -> None:
        self._probe = probe
        self._known: Set[int] = set()

    def among(self, processes: Iterable[Process]) -> List[str]:
        """Why one cannot count its steps, for each that was not told yet."""
        found = []
        for process in processes:
            if process.pid in self._known:
                continue
            why = self._why(process.pid)
            if why is not None:
                self._known.add(process.pid)
            if why:
                found.append(why)
        return found

    def _why(self, pid: int) -> Optional[str]:
        """The reason, empty where it sees the probe; None where this is no Python (yet)."""
        try:
            program = os.path.basename(os.readlink("/proc/%d/exe" % pid))
            if not program.startswith(("python", "pypy")):
                return None
            words = _file_of("/proc/%d/cmdline" % pid)
            variables = dict(
                word.partition("=")[::2] for word in _file_of("/proc/%d/environ" % pid)
            )
        except OSError:
            return None
        command = " ".join(words)[:_WORDS_SHOWN]
        flag = _deaf_flag(words)
        if flag:
            return "`%s` was started with %s" % (command, _DEAF[flag])
        path = variables.get("PYTHONPATH")
        if "MLBROKER_PROBE_DIR" not in variables or path is None:
            return "`%s` was started without the variables of the job (PYTHONPATH)" % command
        if self._probe not in path.split(os.pathsep):
            return "`%s` was started with a PYTHONPATH of its own, %s" % (command, path)
        return ""


def _file_of(path: str) -> List[str]:
    with open(path, "rb") as file:
        return file.read().decode("utf-8", "replace").rstrip("\0").split("\0")


def _deaf_flag(words: List[str]) -> Optional[str]:
    """The option among those before the program that keeps hooks out."""
    for word in words[1:]:
        if not word.startswith("-") or word.startswith("--") or word == "-":
            return None
        for letter in word[1:]:
            if letter in _DEAF:
                return letter
            if letter in "cmWX":
                break
        if "c" in word or "m" in word:
            return None
    return None
