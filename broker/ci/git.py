"""Reads a git repository without touching its work tree, its index or its network."""

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from mlbroker.broker.errors import InputError

# No prompts, no locks taken for a mere read, no messages in the user's language.
_ENVIRONMENT = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
# Git tells its hooks where it stands; the repository meant here is the one around the folder.
_OF_THE_CALLER = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR"}
# File modes of git: plain, and executable.
_REGULAR = (b"100644", b"100755")
_DEPTH_HINT = (
    "fetch more history: `fetch-depth: 0` in actions/checkout, `GIT_DEPTH: 0` in GitLab CI,"
    " `git fetch --unshallow` by hand"
)


class Repository:
    """The repository that a folder lies in."""

    def __init__(self, folder: Path) -> None:
        try:
            found = _git(folder, "rev-parse", "--show-toplevel")
        except FileNotFoundError:
            raise InputError(
                "git is not installed", hint="install git, or leave --base out"
            ) from None
        if found.returncode:
            said = found.stderr.decode(errors="replace").strip().removeprefix("fatal: ")
            raise InputError(
                f"is not in a git repository: {said.splitlines()[0] if said else 'git failed'}",
                where=str(folder),
                hint="run `mlbroker check` inside one, or without --base",
            )
        self.root = Path(os.fsdecode(found.stdout.removesuffix(b"\n")))
        self._trees: dict[str, dict[str, str]] = {}
        self._links: dict[str, set[str]] = {}
        self._listed: dict[tuple[str, ...], list[str]] = {}
        self._left_out: dict[tuple[str, ...], dict[str, str]] = {}

    @classmethod
    def around(cls, folder: Path) -> "Repository | None":
        """The repository around `folder`, None when there is none."""
        try:
            return cls(folder)
        except InputError:
            return None

    def base_commit(self, ref: str) -> str:
        """The commit where the work tree's branch left `ref`, or `ref` itself when it did not."""
        tip = self._resolve(ref)
        merge_base = _git(self.root, "merge-base", tip, "HEAD")
        if not merge_base.returncode:
            return merge_base.stdout.decode("ascii").split()[0]
        if self._is_shallow():
            raise InputError(
                f"this clone is too shallow: it does not reach the point where HEAD left {ref}",
                where="--base",
                hint=_DEPTH_HINT,
            )
        return tip

    def _resolve(self, ref: str) -> str:
        found = _git(
            self.root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"
        )
        if not found.returncode:
            return found.stdout.decode("ascii").strip()
        shallow = self._is_shallow()
        raise InputError(
            f"there is no commit {ref!r}" + (" in this shallow clone" if shallow else ""),
            where="--base",
            hint=_DEPTH_HINT if shallow else self._near(ref),
        )

    def _is_shallow(self) -> bool:
        return _git(self.root, "rev-parse", "--is-shallow-repository").stdout.strip() == b"true"

    def _near(self, ref: str) -> str:
        from mlbroker.broker.files.yaml_fields import nearest

        listed = _git(self.root, "for-each-ref", "--format=%(refname:short)")
        near = nearest(ref, listed.stdout.decode(errors="replace").split())
        return f"did you mean {near}?" if near else "name a branch, a tag or a commit"

    def tree(self, commit: str) -> dict[str, str]:
        """Path -> blob id of every regular file of a commit."""
        if commit not in self._trees:
            self._trees[commit] = self._read_tree(commit)
        return self._trees[commit]

    def content(self, commit: str, path: str) -> bytes | None:
        """A file's content at a commit, None where there was none."""
        blob = self.tree(commit).get(path)
        return None if blob is None else self.blobs([blob])[blob]

    def is_link(self, commit: str, path: str) -> bool:
        """Whether the path was a symbolic link at a commit: what it led to may lie anywhere."""
        self.tree(commit)
        return path in self._links[commit]

    def _read_tree(self, commit: str) -> dict[str, str]:
        entries = self._read("ls-tree", "-r", "-z", "--full-tree", commit).split(b"\0")
        files = {}
        links = self._links[commit] = set()
        for entry in entries:
            facts, _, path = entry.partition(b"\t")
            mode, kind, blob = facts.split(b" ") if path else (b"", b"", b"")
            if mode == b"120000":
                links.add(os.fsdecode(path))
            elif kind == b"blob":
                files[os.fsdecode(path)] = blob.decode("ascii")
        return files

    def work_tree(self, endings: tuple[str, ...]) -> list[str]:
        """Paths of the work tree's files, tracked or not, that git does not ignore, in order."""
        if endings not in self._listed:
            output = self._read(
                *("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--full-name"),
                *("--", *_ending_with(endings)),
            )
            paths = {os.fsdecode(path) for path in output.split(b"\0") if path}
            self._listed[endings] = sorted(paths)
        return self._listed[endings]

    def changed_since(self, commit: str, endings: tuple[str, ...]) -> list[str]:
        """Paths of the files that the work tree has otherwise than a commit, new and gone ones too,
        in order."""
        these = ("--", *_ending_with(endings))
        changed = self._read(
            "diff", "--name-only", "-z", "--no-renames", "--no-ext-diff", commit, *these
        )
        new = self._read("ls-files", "-z", "--others", "--exclude-standard", "--full-name", *these)
        return sorted({os.fsdecode(path) for path in (changed + new).split(b"\0") if path})

    def not_checked_out(self, endings: tuple[str, ...]) -> dict[str, str]:
        """Path -> blob id of the files that a sparse checkout leaves out of the work tree."""
        if endings in self._left_out:
            return self._left_out[endings]
        entries = self._read(
            "ls-files", "-z", "-t", "--stage", "--full-name", "--", *_ending_with(endings)
        )
        found = {}
        for entry in entries.split(b"\0"):
            facts, _, path = entry.partition(b"\t")
            tag, mode, blob, stage = facts.split(b" ") if path else (b"", b"", b"", b"")
            name = os.fsdecode(path)
            sparse = (tag, stage) == (b"S", b"0") and mode in _REGULAR
            if sparse and not os.path.lexists(self.root / name):
                found[name] = blob.decode("ascii")
        self._left_out[endings] = found
        return found

    def blobs(self, ids: Iterable[str]) -> dict[str, bytes]:
        """Blob id -> content; one process for all."""
        wanted = list(dict.fromkeys(ids))
        if not wanted:
            return {}
        output = self._read("cat-file", "--batch", given="".join(f"{b}\n" for b in wanted).encode())
        contents: dict[str, bytes] = {}
        position = 0
        for blob in wanted:
            end = output.index(b"\n", position)
            size = int(output[position:end].split(b" ")[2])
            contents[blob] = output[end + 1 : end + 1 + size]
            position = end + size + 2
        return contents

    def _read(self, *arguments: str, given: bytes | None = None) -> bytes:
        done = _git(self.root, *arguments, given=given)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise InputError(f"git {arguments[0]} failed: {said}", where=str(self.root))
        return done.stdout


def _ending_with(endings: Iterable[str]) -> list[str]:
    """Patterns of all files of the repository that end so."""
    return [f":(top,glob)**/*{ending}" for ending in endings]


def _git(
    folder: Path, *arguments: str, given: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments],
        input=given if given is not None else b"",
        capture_output=True,
        check=False,
        env={k: v for k, v in os.environ.items() if k not in _OF_THE_CALLER} | _ENVIRONMENT,
    )


def blob_id(content: bytes, like: str) -> str:
    """The id git gives `content`, in the hash that `like` is written in."""
    import hashlib

    new = hashlib.sha256 if len(like) == 64 else hashlib.sha1
    return new(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
