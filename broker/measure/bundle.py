"""What travels to the machine that measures: the work folder, the probe and what to run."""

import io
import json
import subprocess
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlbroker.broker.errors import InputError
from mlbroker.broker.measure.agent_link import PROBE_FOLDER

FOLDER = ".mlbroker-probe"
SPEC = "spec.json"
MAX_BYTES = 1_000_000_000
_LEFT_OUT = {".git", "__pycache__", ".venv", "venv", "node_modules", ".mypy_cache", FOLDER}


def pack(workdir: Path, spec: Mapping[str, Any], target: Path) -> None:
    """Write the bundle. In a git work tree, ignored files stay at home as they do in a clone."""
    target.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with tarfile.open(target, "w:gz", compresslevel=3) as tar:
        for path in _files(workdir):
            size += path.lstat().st_size
            if size > MAX_BYTES:
                raise InputError(
                    f"the work folder holds more than {MAX_BYTES / 1e9:.0f} GB",
                    where=str(workdir),
                    hint="keep large data elsewhere, or list it in .gitignore",
                )
            tar.add(path, str(path.relative_to(workdir)), recursive=False)
        for path in sorted(PROBE_FOLDER.rglob("*.py")):
            tar.add(path, f"{FOLDER}/{path.relative_to(PROBE_FOLDER)}")
        text = (json.dumps(spec) + "\n").encode()
        entry = tarfile.TarInfo(f"{FOLDER}/{SPEC}")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))


def _files(workdir: Path) -> Iterator[Path]:
    listed = subprocess.run(
        ["git", "-C", str(workdir), "ls-files", "-zco", "--exclude-standard", "."],
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0 and listed.stdout:
        names = listed.stdout.decode("utf-8", "surrogateescape").split("\0")
        paths: Iterable[Path] = [workdir / name for name in sorted(set(names)) if name]
    else:
        paths = _walk(workdir)
    for path in paths:
        if path.is_symlink() or path.is_file():
            yield path


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in _LEFT_OUT:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)
        else:
            yield path
