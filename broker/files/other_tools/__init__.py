"""Files of other tools, read into a job and written from a plan. A new one: a module, an entry."""

import re
import shlex
from importlib import import_module
from typing import NamedTuple, cast

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.other_tools.interface import Reader, Writer


class Tool(NamedTuple):
    """Another tool: its files in words, how they are known at a glance, and what is done with them
    here. `read_NAME.py` has the function of `Reader`, `write_NAME.py` that of `Writer`.
    """

    words: str
    sign: str | None = None
    reads: bool = False
    writes: bool = False


_ANY_KIND = "task|service|dev-environment|fleet|volume|gateway"
# The signs hold in YAML, where a top-level key begins its line, and in JSON.
_DSTACK = rf"^type:[ \t]*[\"']?(?:{_ANY_KIND})\b"
_KUBERNETES = r"^[ \t{]*\"apiVersion\"[ \t]*:|^apiVersion:"
_DETERMINED = r"^(?:entrypoint|searcher):"
TOOLS: dict[str, Tool] = {
    "slurm": Tool("a Slurm batch script (#SBATCH)", r"^#SBATCH[ \t]", True, True),
    "dstack": Tool("a dstack task (type: task)", _DSTACK, True, True),
    "kubernetes": Tool("a Kubernetes Job (kind: Job)", _KUBERNETES, True, True),
    "determined": Tool("a Determined configuration (entrypoint:)", _DETERMINED, reads=True),
    "skypilot": Tool("a SkyPilot task", writes=True),
}


def tool_of(text: str) -> str | None:
    """The tool whose file this looks like; None for SkyPilot's and ours, and for any other."""
    for name, tool in TOOLS.items():
        if tool.sign is not None and re.search(tool.sign, text, re.MULTILINE):
            return name
    return None


def refuse_other_tools(text: str, source: str) -> None:
    """Name the command that reads a file of another tool, where `text` is one."""
    name = tool_of(text)
    if name is not None:
        raise InputError(
            f"looks like {TOOLS[name].words}, not a job file",
            where=source,
            hint=f"`mlbroker init --from {shlex.quote(source)}` writes a job file from it",
        ) from None


def reader(name: str) -> Reader:
    """Reads that tool's files."""
    return cast(Reader, import_module(f"{__name__}.read_{name}"))


def writer(name: str) -> Writer:
    """Writes that tool's files."""
    return cast(Writer, import_module(f"{__name__}.write_{name}"))
