"""What of a job its step time rests on, so that a change is noticed and can be named."""

import ast
import hashlib
import json
import shlex
from collections.abc import Mapping
from pathlib import Path

from mlbroker.profiles.job import Job
from mlbroker.profiles.versions import Difference, difference

SOURCE_SUFFIXES = {
    ".py", ".ipynb", ".sh", ".r", ".jl", ".c", ".cc", ".cpp", ".cu", ".h", ".hpp", ".rs", ".go",
    ".java", ".scala",
}  # fmt: skip
SKIPPED_FOLDERS = {"__pycache__", "node_modules", "venv", "env", "build", "dist", "site-packages"}
MAX_FILES = 2000
MAX_SOURCE_BYTES = 1_000_000
# Of more files only the digest of all is kept: a change of any is one of all.
MOST_NAMED = 500
# Where a line of a program is a comment when it begins so. Python is read by its own parser.
COMMENT_MARKS = {
    "#": {".sh", ".r", ".jl"},
    "//": {".c", ".cc", ".cpp", ".cu", ".h", ".hpp", ".rs", ".go", ".java", ".scala"},
}


def of(job: Job, *, measured: bool = False) -> dict[str, str]:
    """The facts of the job as it is now. Only data files that its command names are counted:
    a run writes files too, and its own results must not look like a change of its input.

    Of a job that is `measured` now, what its program files hold beside comments is told too.
    """
    facts = {
        "command": _digest(job.command),
        "setup": _digest(job.setup or ""),
        "envs": json.dumps({name: _digest(value) for name, value in sorted(job.variables.items())}),
        "nodes": str(job.num_nodes),
        "input_gb": str(job.data.input_gb),
    }
    if job.workdir and (root := Path(job.workdir)).is_dir():
        facts |= _code(root, measured)
        facts["data"] = json.dumps(_data(job, root), sort_keys=True)
    return facts


def since(job: Job, then: Mapping[str, str], now: Mapping[str, str]) -> Difference:
    """What of the job has changed since it had the facts of `then`; `now` are those it has."""
    root = Path(job.workdir or ".")
    return difference(then, now, lambda path: essence(root / path))


def essence(path: Path) -> str | None:
    """A digest of a program file without its comments and blank space; None where it is gone."""
    try:
        return essence_of(path, path.read_bytes())
    except OSError:
        return None


def essence_of(path: Path, content: bytes) -> str:
    """The same of what such a file holds."""
    suffix = path.suffix.lower()
    if suffix == ".py":
        try:
            return _digest(ast.dump(ast.parse(content)))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return hashlib.sha256(content).hexdigest()[:16]
    marks = tuple(mark.encode() for mark, of in COMMENT_MARKS.items() if suffix in of)
    lines = [line.rstrip() for line in content.splitlines()]
    told = [line for line in lines if line and not (marks and line.lstrip().startswith(marks))]
    return hashlib.sha256(b"\n".join(told)).hexdigest()[:16]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _code(root: Path, measured: bool) -> dict[str, str]:
    """One digest over the program files under the work folder, and one of each."""
    digest = hashlib.sha256()
    files: dict[str, list[str]] = {}
    for path in _sources(root):
        try:
            content = path.read_bytes()
        except OSError:
            continue
        name = str(path.relative_to(root))
        digest.update(f"{name}\0{len(content)}\0".encode("utf-8", "surrogateescape"))
        digest.update(content)
        own = [hashlib.sha256(content).hexdigest()[:16]]
        files[name] = [*own, essence_of(path, content)] if measured else own
    named = files if len(files) <= MOST_NAMED else {}
    return {"code": digest.hexdigest()[:16], "files": json.dumps(named, sort_keys=True)}


def _sources(root: Path) -> list[Path]:
    found: list[Path] = []
    folders = [root]
    seen = 0
    while folders and seen < MAX_FILES:
        try:
            entries = sorted(folders.pop().iterdir())
        except OSError:
            continue
        for path in entries[: MAX_FILES - seen]:
            seen += 1
            if path.is_symlink() or path.name.startswith("."):
                continue
            if path.is_dir():
                if path.name not in SKIPPED_FOLDERS:
                    folders.append(path)
            elif path.suffix.lower() in SOURCE_SUFFIXES and path.stat().st_size < MAX_SOURCE_BYTES:
                found.append(path)
    return found


def _data(job: Job, root: Path) -> dict[str, int]:
    """Bytes of the files that the command or the variables name and that are no program."""
    words: set[str] = set(job.envs.values())
    for line in job.command.splitlines():
        try:
            words.update(shlex.split(line, comments=True))
        except ValueError:
            words.update(line.split())
    words |= {word.partition("=")[2] for word in words if "=" in word}
    sizes = {}
    for word in words:
        path = root / word
        try:
            if word and path.suffix.lower() not in SOURCE_SUFFIXES and path.is_file():
                status = path.stat()
                if not status.st_mode & 0o111:  # a program is no data
                    sizes[word] = status.st_size
        except (OSError, ValueError):
            continue
    return sizes
