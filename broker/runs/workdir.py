"""Which files of the work directory travel: those git would take, of submodules too.

Git's own listing decides, so that the rules are those people know. What it refuses to tell is an
error in its own words: files are never left out because nobody could say which there are.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mlbroker.broker.errors import InputError
from mlbroker.broker.guest.archives import LeftOut

# An environment's programs name the place where they were made: elsewhere it is of no use.
_ENVIRONMENT_MARKS = ("pyvenv.cfg", os.path.join("conda-meta", "history"))
_IGNORED = ("--quiet", "--no-index", ".")
_UNTRACKED = ("ls-files", "-z", "--others")


def files_below(top: Path, left_out: LeftOut) -> list[str]:
    """Relative paths of the files that travel, sorted; what stays behind is added to `left_out`.

    Raises InputError where git is missing or refuses, and where it ignores all that is there.
    """
    names = sorted(_without_environments(top, set(_listed(top, left_out)), left_out))
    if not names and not left_out and any(top.iterdir()):
        raise InputError(
            "git ignores every file in it: the job would find an empty folder",
            where=str(top),
            hint="Take the job's files out of .gitignore, or name another workdir.",
        )
    return names


def _listed(top: Path, left_out: LeftOut, *, inner: bool = False) -> Iterator[str]:
    repository = _toplevel(top)
    if repository is None or (inner and repository != top):
        found = _outside(top, "--exclude-standard")
    elif repository != top and _git(top, "check-ignore", *_IGNORED, no=1) is not None:
        # Whoever ignores the whole folder, say in a repository of settings at home, means no
        # word about the files in it: those it has itself say which.
        found = _outside(top, "--exclude-per-directory=.gitignore")
        found += _asked(top, "ls-files", "-z", "--cached")
    else:
        found = _asked(top, "ls-files", "-z", "--cached")
        found += _asked(top, *_UNTRACKED, "--exclude-standard")
    for raw in found.split(b"\0"):
        name = os.fsdecode(raw).rstrip("/")
        path = top / name
        if not name or not os.path.lexists(path):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _of_inner(path, name, left_out)
        else:
            yield name


def _of_inner(path: Path, name: str, left_out: LeftOut) -> Iterator[str]:
    """Of a submodule, or of a repository inside of this one."""
    if not os.listdir(path):
        left_out.add(os.fsencode(name), "a submodule that is not checked out")
        return
    for below in _listed(path, left_out, inner=True):
        yield os.path.join(name, below)


def _without_environments(top: Path, names: set[str], left_out: LeftOut) -> Iterator[str]:
    folders = {
        name.removesuffix(mark).rstrip("/")
        for name in names
        for mark in _ENVIRONMENT_MARKS
        if name.endswith("/" + mark)
    }
    for folder in sorted(folders):
        left_out.add(os.fsencode(folder), "an environment of this machine: make it in `setup`")
    inside = tuple(folder + "/" for folder in folders)
    return (name for name in names if not name.startswith(inside))


def _toplevel(top: Path) -> Path | None:
    """The repository's own folder; None outside of any."""
    answer = _git(top, "rev-parse", "--show-toplevel", no=128, because="not a git repository")
    return None if answer is None else Path(os.fsdecode(answer.rstrip(b"\n")))


def _outside(top: Path, rules: str) -> bytes:
    """Git knows what is ignored without a repository too: an empty one is lent to it."""
    with tempfile.TemporaryDirectory() as empty:
        _asked(top, "init", "--quiet", "--bare", empty)
        return _asked(top, f"--git-dir={empty}", f"--work-tree={top}", *_UNTRACKED, rules)


def _asked(top: Path, *arguments: str) -> bytes:
    return _git(top, *arguments) or b""


def _git(folder: Path, *arguments: str, no: int = 0, because: str = "") -> bytes | None:
    """What git says; None where it ends with `no`, `because` of that."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env={**environment, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        raise InputError(
            "git is needed to tell which files belong to the job", hint="Install git and try again."
        ) from None
    except OSError as error:
        raise InputError(f"it cannot be entered: {error.strerror}", where=str(folder)) from None
    said = " ".join(done.stderr.decode(errors="replace").split())
    if no and done.returncode == no and because in said:
        return None
    # A folder that git cannot open it passes over, with a warning that nobody would see.
    if done.returncode or "could not open directory" in said:
        raise InputError(
            f"git cannot tell which files belong to the job: {said}",
            where=str(folder),
            hint="Mend it, or list what cannot be read in .gitignore.",
        )
    return done.stdout
