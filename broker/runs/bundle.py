"""The work directory as one archive: what git would take, its size and its hash."""

import gzip
import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlbroker.broker.errors import InputError
from mlbroker.broker.guest.archives import LeftOut
from mlbroker.broker.guest.packing import Packer, target_inside
from mlbroker.broker.runs.workdir import files_below

# So large a file is no place where somebody keeps a token by mistake.
_SEARCH_BYTES = 20_000_000


@dataclass(frozen=True, slots=True)
class Bundle:
    """What was packed, and what was not: no plain file, unreadable, or a link that leads out."""

    path: Path
    files: int
    bytes: int
    sha256: str
    left_out: LeftOut


def pack_workdir(
    workdir: Path | None,
    target: Path,
    secrets: Mapping[str, str],
    beside: Mapping[str, bytes | Path] | None = None,
) -> Bundle:
    """Archive the files of `workdir` that .gitignore does not name, if there is one, and those
    `beside` them: contents, or files of this disk.

    The order is fixed. A file that holds the value of a secret is refused: bundles travel and stay.
    """
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (
        open(target, "wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, compresslevel=6) as packed,
    ):
        packer = Packer(packed)
        if workdir is not None:
            top = workdir.resolve()
            for name in files_below(top, packer.left_out):
                _add(packer, top, name, secrets)
        for name, content in (beside or {}).items():
            if isinstance(content, bytes):
                packer.data(os.fsencode(name), content)
            else:
                packer.file(os.fsencode(name), os.fsencode(content))
        packer.close()
    with open(target, "rb") as archive:
        digest = hashlib.file_digest(archive, "sha256").hexdigest()
    return Bundle(target, packer.files, target.stat().st_size, digest, packer.left_out)


def _add(packer: Packer, top: Path, name: str, secrets: Mapping[str, str]) -> None:
    path, found = os.fsencode(top / name), (top / name).lstat()
    if stat.S_ISLNK(found.st_mode):
        target = target_inside(os.fsencode(top), os.fsencode(name))
        if target is None:
            packer.left_out.add(os.fsencode(name), "leads out of the work directory")
        else:
            packer.link(os.fsencode(name), found, target)
        return
    if stat.S_ISREG(found.st_mode):
        _refuse_secrets(top / name, name, secrets)
    packer.file(os.fsencode(name), path)


def _refuse_secrets(path: Path, name: str, secrets: Mapping[str, str]) -> None:
    if not secrets or path.stat().st_size > _SEARCH_BYTES or not os.access(path, os.R_OK):
        return
    data = path.read_bytes()
    for secret, value in secrets.items():
        if len(value) >= 8 and value.encode() in data:
            raise InputError(
                f"{name} holds the value of the secret {secret}",
                hint="Bundles travel and are kept: take it out, or list the file in .gitignore.",
            )
