"""The program files that a change touches, and the jobs whose work folder holds them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from mlbroker.broker.ci.git import Repository
from mlbroker.broker.ci.pairs import JobPair
from mlbroker.broker.evidence.facts import SKIPPED_FOLDERS, SOURCE_SUFFIXES, essence, essence_of

_NAMED = 3


class CodeChanges:
    """Files whose programs differ; comments and blank space are no difference."""

    def __init__(self, root: Path, changed: Iterable[str]) -> None:
        self._root = root.resolve()
        self._changed = sorted(changed)

    def __bool__(self) -> bool:
        return bool(self._changed)

    @classmethod
    def since(cls, repository: Repository, commit: str) -> "CodeChanges":
        """What the work tree has otherwise than a commit."""
        paths = repository.changed_since(commit, tuple(sorted(SOURCE_SUFFIXES)))
        tree = repository.tree(commit)
        then = repository.blobs(tree[path] for path in paths if path in tree)

        def differs(path: str) -> bool:
            now = essence(repository.root / path)
            return (
                now is None or path not in tree or essence_of(Path(path), then[tree[path]]) != now
            )

        return cls(repository.root, filter(differs, paths))

    def of(self, pair: JobPair) -> Sequence[str]:
        """Those of a job, as they are called below its work folder."""
        workdir = pair.head.job.workdir if pair.head else None
        if workdir is None or not (folder := Path(workdir).resolve()).is_relative_to(self._root):
            return ()
        inside = folder.relative_to(self._root).parts
        found = (Path(path).parts for path in self._changed)
        own = [parts[len(inside) :] for parts in found if parts[: len(inside)] == inside]
        return ["/".join(parts) for parts in own if not any(map(_is_no_code, parts))]


def code_words(changed: Sequence[str], *, unknown: bool) -> str:
    """That these files of a job changed; `unknown`: it was never measured."""
    more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
    doubt = "" if unknown else "; its measurements may not hold"
    return f"code: the job's code changed{doubt}: {', '.join(changed[:_NAMED])}{more}"


def _is_no_code(part: str) -> bool:
    return part.startswith(".") or part in SKIPPED_FOLDERS
