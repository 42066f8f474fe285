"""Where mlbroker keeps its state on this machine."""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from mlbroker.broker.errors import InputError, RefusedError
from mlbroker.broker.guest.box import private_folder as private_folder
from mlbroker.broker.output import warn

# Names the database of a team's ledger; it may hold a password, and jobs do not get it.
TEAM_LEDGER = "MLBROKER_LEDGER"
# How its address begins.
POSTGRES = ("postgresql://", "postgres://")
# The user's guardrails, found upward from the job file.
POLICY_NAME = "mlbroker-policy.yaml"


def home() -> Path:
    """`MLBROKER_HOME`, else the platform's data folder for mlbroker. Created by its writers."""
    chosen = os.environ.get("MLBROKER_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs  # imported only when needed: most test and CI calls set the variable

    return Path(platformdirs.user_data_dir("mlbroker", appauthor=False))


def private_home(folder: Path) -> None:
    """The state folder, made for this user alone; one that others may write to is closed to them.

    Who may write there could put another ledger in its place. A folder like /tmp, where nobody may
    take away what is another's, is left as it is.
    """
    private_folder(str(folder))
    mode = folder.stat().st_mode
    if not mode & 0o022 or mode & stat.S_ISVTX:
        return
    try:
        folder.chmod(stat.S_IMODE(mode) & ~0o022)
    except OSError:
        raise RefusedError(
            "others may write to the state folder, and it is not yours to close",
            where=str(folder),
            hint="Set MLBROKER_HOME to a folder of your own; one inside it will do.",
        ) from None
    warn(f"{folder}: others could write to the state folder; now they cannot")


def present(path: Path) -> bool:
    """Whether there is a file of this name.

    A link that leads nowhere (a share that is not mounted, a loop) is not taken for none, nor is a
    name that cannot be looked up: both are refused, as what the file forbids would be allowed.
    """
    try:
        if stat.S_ISLNK(path.lstat().st_mode):
            path.stat()
    except (FileNotFoundError, NotADirectoryError):
        if not path.is_symlink():
            return False
        raise InputError(
            f"is a link to {os.readlink(path)}, which is not there",
            where=str(path),
            hint="Bring back what it leads to, or remove the link.",
        ) from None
    except OSError as error:
        raise InputError(
            f"cannot be looked up: {error.strerror}", where=str(path), hint="Mend or remove it."
        ) from None
    return True


def usual_file(path: Path) -> Path | None:
    """The file at its usual place, None where there is none.

    One whose name only resembles the usual one would be ignored in silence: it is refused.
    """
    try:
        names = os.listdir(path.parent)
    except OSError:
        names = []  # a folder one may pass through, but not list
    usual = _plain(path.name)
    for name in names:
        # A folder may hold many thousand names: most of them begin otherwise.
        alike = name.lstrip(".-_ \t\n\r\f\v")[:1].lower() == usual[0] and _plain(name) == usual
        if alike and name != path.name:
            other = path.parent / name
            if "." in name.lstrip(".") or not other.is_dir():
                raise InputError(
                    f"would not be read: it has to be called {path.name}",
                    where=str(other),
                    hint="Rename it, or move it away.",
                )
    return path if present(path) else None


def _plain(name: str) -> str:
    """A file's name without what people get wrong: case, dots, dashes, the ending."""
    found = re.fullmatch(r"\.*(.+?)(\.(ya?ml|json|txt))*", name.lower(), re.DOTALL)
    return re.sub(r"[-_\s]", "", found[1] if found else "").replace("policies", "policy")


def named_file(usual: Path, variable: str, environ: Mapping[str, str]) -> Path | None:
    """The file that a variable names, which must exist, else `usual` where there is one."""
    if environ.get(variable):
        return Path(environ[variable]).expanduser()
    return usual_file(usual)


def policy_path(job_path: Path, option: Path | None = None) -> Path | None:
    """The policy file of `--policy`, else the nearest one upward from the job; None without."""
    if option is not None:
        return option
    found = (usual_file(folder / POLICY_NAME) for folder in job_path.absolute().parents)
    return next((path for path in found if path is not None), None)


def keep_answer(path: Path, content: bytes, most: int) -> None:
    """Lay an answer into its cache folder, whole or not at all; of more than `most` the oldest go.

    Raises OSError where it cannot be kept.
    """
    private_folder(str(path.parent))
    aside = path.with_suffix(f".{os.getpid()}")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    kept = sorted((entry.stat().st_mtime_ns, entry.path) for entry in os.scandir(path.parent))
    for _, old in kept[:-most]:
        Path(old).unlink(missing_ok=True)
