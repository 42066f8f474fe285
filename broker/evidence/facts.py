"""What of a job its step time rests on, so that a change is noticed and can be named."""

import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlbroker.profiles.job import Job

SOURCE_SUFFIXES = {
    ".py", ".ipynb", ".sh", ".r", ".jl", ".c", ".cc", ".cpp", ".cu", ".h", ".hpp", ".rs", ".go",
    ".java", ".scala",
}  # fmt: skip
SKIPPED_FOLDERS = {"__pycache__", "node_modules", "venv", "env", "build", "dist", "site-packages"}
MAX_FILES = 2000
MAX_SOURCE_BYTES = 1_000_000
# Data that grew or shrank by less than this does not make a measurement void.
DATA_TOLERANCE = 0.1


def of(job: Job) -> dict[str, str]:
    """The facts of the job as it is now. Only data files that its command names are counted:
    a run writes files too, and its own results must not look like a change of its input."""
    facts = {
        "command": _digest(job.command),
        "setup": _digest(job.setup or ""),
        "envs": json.dumps({name: _digest(value) for name, value in sorted(job.envs.items())}),
        "nodes": str(job.num_nodes),
        "input_gb": str(job.data.input_gb),
    }
    if job.workdir and (root := Path(job.workdir)).is_dir():
        facts["code"] = _code(root)
        facts["data"] = json.dumps(_data(job, root), sort_keys=True)
    return facts


def changes(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """What differs between two states of a job, in words; empty when the old times still hold."""
    if not then:
        return ()
    found = [
        f"its {name} changed"
        for name in ("command", "setup", "code")
        if then.get(name) != now.get(name)
    ]
    if then.get("envs") != now.get("envs"):
        found.append(f"its envs changed ({', '.join(_differing(then, now))})")
    if then.get("nodes") != now.get("nodes"):
        found.append(f"it ran on {then.get('nodes')} nodes, now {now.get('nodes')}")
    if then.get("input_gb") != now.get("input_gb"):
        found.append(f"its input was {then.get('input_gb')} GB, now {now.get('input_gb')} GB")
    return (*found, *_data_changes(then, now))


def _differing(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    old, new = json.loads(then.get("envs", "{}")), json.loads(now.get("envs", "{}"))
    return sorted(name for name in {*old, *new} if old.get(name) != new.get(name))


def _data_changes(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    sizes = json.loads(now.get("data", "{}"))
    for name, size in json.loads(then.get("data", "{}")).items():
        if name not in sizes:
            yield f"{name} is gone"
        elif abs(sizes[name] - size) > DATA_TOLERANCE * size:
            yield f"{name} had {size:,} bytes, now {sizes[name]:,}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _code(root: Path) -> str:
    """One digest over the program files under the work folder."""
    digest = hashlib.sha256()
    for path in _sources(root):
        try:
            content = path.read_bytes()
        except OSError:
            continue
        digest.update(f"{path.relative_to(root)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


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
