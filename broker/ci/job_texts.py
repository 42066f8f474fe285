"""The job files of a repository at two moments: the work tree, and the commit it is compared to."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from mlbroker.broker.ci.git import Repository, blob_id
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.yaml_strict import MAX_BYTES, read_bytes

ENDINGS = (".yaml", ".yml")
_NAMED = re.compile(r"(?:.*\.)?job\.ya?ml")
# A task of SkyPilot's or ours: a command at the top level, and one of its companions.
_RUN = re.compile(rb"^run[ \t]*:", re.M)
_COMPANION = re.compile(rb"^(?:broker|resources|setup|workdir|num_nodes|envs)[ \t]*:", re.M)
_SKIPPED_FOLDERS = ("node_modules", "venv", "__pycache__", "site-packages")


@dataclass(frozen=True, slots=True)
class TextPair:
    """One path's content then and now; None where there is no job file.

    A sparse checkout leaves files out of the work tree, `checked_out` is False for those: they are
    as the index has them.
    """

    path: str
    base: bytes | None
    head: bytes | None
    checked_out: bool = True


class JobTexts:
    """Finds job files under `paths`: named `job.yaml`, `*.job.yaml`, or any YAML file that looks
    like a task. Files that are named one by one are taken as they are.
    """

    def __init__(self, paths: Sequence[Path], repository: Repository | None) -> None:
        self.repository = repository
        self.root = repository.root if repository else Path.cwd()
        self._named = {self._relative(path) for path in paths if not path.is_dir()}
        self._folders = {self._relative(path) for path in paths if path.is_dir()}
        self._not_checked_out = repository.not_checked_out(ENDINGS) if repository else {}

    def current(self) -> list[TextPair]:
        """The job files of the work tree, compared to nothing."""
        head = self._head()
        self._require_named(head)
        return [self._pair(path, None, head[path]) for path in sorted(head)]

    def since(self, commit: str) -> list[TextPair]:
        """The job files of the work tree and of a commit, by path."""
        assert self.repository is not None
        head = self._head()
        # An unchanged file's content is known without asking git for it.
        known: dict[str, bytes] = {}
        unread: dict[str, str] = {}
        for path, blob in self.repository.tree(commit).items():
            if not self._in_scope(path):
                continue
            now = head.get(path)
            if now is not None and blob_id(now, blob) == blob:
                known[path] = now
            else:
                unread[path] = blob
        contents = self.repository.blobs(unread.values())
        base = known | {
            path: contents[blob]
            for path, blob in unread.items()
            if path in self._named or is_job(path, contents[blob])
        }
        self._require_named({**base, **head})
        return [self._pair(path, base.get(path), head.get(path)) for path in sorted({*base, *head})]

    def _pair(self, path: str, base: bytes | None, head: bytes | None) -> TextPair:
        return TextPair(path, base, head, path not in self._not_checked_out)

    def _head(self) -> dict[str, bytes]:
        found = {}
        for path, content in self._contents():
            if content is not None and (path in self._named or is_job(path, content)):
                found[path] = content
        for path in self._named:
            if os.path.lexists(self.root / path):
                found[path] = read_bytes(self.root / path)
        return found

    def _contents(self) -> Iterator[tuple[str, bytes | None]]:
        for path in self._listed():
            if path not in self._not_checked_out:
                yield path, self._content(self.root / path)
        if self.repository is None:
            return
        left_out = {p: blob for p, blob in self._not_checked_out.items() if self._in_scope(p)}
        contents = self.repository.blobs(left_out.values())
        yield from ((path, contents[blob]) for path, blob in left_out.items())

    def _listed(self) -> Iterator[str]:
        if not self._folders:
            return
        if self.repository:
            paths: Iterable[str] = self.repository.work_tree(ENDINGS)
        else:
            paths = chain.from_iterable(_walk(self.root, folder) for folder in self._folders)
        for path in paths:
            if path not in self._named and self._in_scope(path):
                yield path

    def _content(self, path: Path) -> bytes | None:
        """What may be a job file; links, pipes and what has gone since are none."""
        try:
            if path.is_symlink() or not path.is_file():
                return None
            with path.open("rb") as file:
                return file.read(MAX_BYTES + 1)
        except OSError:
            return None

    def _in_scope(self, path: str) -> bool:
        if path in self._named:
            return True
        if not path.endswith(ENDINGS) or _hidden(path):
            return False
        return any(folder == "." or path.startswith(folder + "/") for folder in self._folders)

    def _relative(self, path: Path) -> str:
        absolute = Path(os.path.abspath(path))
        for root in (self.root, self.root.resolve()):
            if absolute.is_relative_to(root):
                return absolute.relative_to(root).as_posix()
        resolved = absolute.resolve()
        if resolved.is_relative_to(self.root.resolve()):
            return resolved.relative_to(self.root.resolve()).as_posix()
        if self.repository is None:
            return absolute.as_posix()
        raise InputError(f"lies outside the repository {self.root}", where=str(path))

    def _require_named(self, found: dict[str, bytes]) -> None:
        for path in sorted(self._named - found.keys()):
            raise InputError("no such file", where=path)


def is_job(path: str, content: bytes) -> bool:
    """Whether a YAML file looks like a job file, by its name or by its top-level keys."""
    if _NAMED.fullmatch(path.rpartition("/")[2]):
        return True
    return bool(_RUN.search(content) and _COMPANION.search(content))


def _hidden(path: str) -> bool:
    return any(part.startswith(".") or part in _SKIPPED_FOLDERS for part in path.split("/")[:-1])


def _walk(root: Path, start: str) -> Iterator[str]:
    for folder, folders, files in os.walk(root / start):
        folders[:] = [name for name in folders if not _hidden(f"{name}/")]
        inside = os.path.relpath(folder, root / start)
        for name in files:
            if name.endswith(ENDINGS):
                yield os.path.normpath(os.path.join(start, inside, name))
