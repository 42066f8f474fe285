"""The work directory as one archive: what git would take, its size and its hash."""

import gzip
import hashlib
import os
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlbroker.broker.errors import InputError

# So large a file is no place where somebody keeps a token by mistake.
_SEARCH_BYTES = 20_000_000


@dataclass(frozen=True, slots=True)
class Bundle:
    """What was packed. `left_out` are files that are no plain files, or links that lead outside."""

    path: Path
    files: int
    bytes: int
    sha256: str
    left_out: tuple[str, ...]


def pack_workdir(workdir: Path, target: Path, secrets: Mapping[str, str]) -> Bundle:
    """Archive the files of `workdir` that .gitignore does not name, in a fixed order.

    A file that holds the value of a secret is refused: bundles travel and stay.
    """
    top = workdir.resolve()
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    left_out: list[str] = []
    count = 0
    with (
        open(target, "wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, compresslevel=6) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for name in _names(top):
            path = top / name
            member = _member(tar, top, path, name)
            if member is None:
                left_out.append(name)
                continue
            count += 1
            if member.isfile():
                _refuse_secrets(path, name, secrets)
                with open(path, "rb") as file:
                    tar.addfile(member, file)
            else:
                tar.addfile(member)
    data = target.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return Bundle(target, count, len(data), digest, tuple(left_out))


def _names(top: Path) -> list[str]:
    """Relative paths of all files, sorted; git decides what is ignored, also outside of a clone."""
    inside = _git(top, "rev-parse", "--is-inside-work-tree")
    if inside is not None:
        listed = _git(top, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    else:
        with tempfile.TemporaryDirectory() as empty:
            _git(top, "init", "--quiet", "--bare", empty)
            listed = _git(
                top, f"--git-dir={empty}", f"--work-tree={top}",
                "ls-files", "-z", "--others", "--exclude-standard",
            )  # fmt: skip
    if listed is None:
        raise InputError(
            "git is needed to tell which files belong to the job", hint="Install git and try again."
        )
    names = {os.fsdecode(name) for name in listed.split(b"\0") if name}
    return sorted(name for name in names if os.path.lexists(top / name))


def _git(folder: Path, *arguments: str) -> bytes | None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env={**environment, "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def _member(tar: tarfile.TarFile, top: Path, path: Path, name: str) -> tarfile.TarInfo | None:
    """The archive's entry; None for what must not travel."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        goal = os.path.realpath(path)
        if goal != str(top) and not goal.startswith(f"{top}{os.sep}"):
            return None
    elif not stat.S_ISREG(found.st_mode):
        return None
    member = tar.gettarinfo(str(path), arcname=name)
    if member.islnk():  # a second name of a file packed before: packed again, as a file
        member.type, member.linkname, member.size = tarfile.REGTYPE, "", found.st_size
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = int(found.st_mtime)
    member.mode &= 0o755
    return member


def _refuse_secrets(path: Path, name: str, secrets: Mapping[str, str]) -> None:
    if not secrets or path.stat().st_size > _SEARCH_BYTES:
        return
    data = path.read_bytes()
    for secret, value in secrets.items():
        if len(value) >= 8 and value.encode() in data:
            raise InputError(
                f"{name} holds the value of the secret {secret}",
                hint="Bundles travel and are kept: take it out, or list the file in .gitignore.",
            )
