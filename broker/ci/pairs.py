"""Which jobs a change adds, removes and changes: each job then beside the same job now."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from mlbroker.broker.ci.job_texts import TextPair
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.env_flags import NO_ENV, EnvFlags
from mlbroker.broker.files.job_file import JobFile, parse_jobs
from mlbroker.broker.files.pipeline_file import as_jobs, parse_pipeline
from mlbroker.broker.files.yaml_fields import nearest_hint
from mlbroker.broker.files.yaml_strict import decode, quoted
from mlbroker.profiles.job import StatedTime

# Jobs without a name of their own are recognised in moved files by this share of equal values.
SIMILAR = 0.6
_MAX_COMPARISONS = 250_000
_PLAIN_NAME = re.compile(rb"^name[ \t]*:[ \t]+([A-Za-z0-9][A-Za-z0-9._-]*)[ \t]*(?:#.*)?\r?$", re.M)
_ANY_NAME = re.compile(rb"^name[ \t]*:", re.M)


class ChangeStatus(StrEnum):
    """What a change does to a job. BROKEN: its file cannot be read now."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class JobPair:
    """One job then (`base`) and now (`head`).

    Unchanged jobs are not read unless they must be: both sides are None then.
    `previous_path` is set when its file was moved. `problem` is why its file cannot be read.
    """

    path: str
    name: str
    status: ChangeStatus
    base: JobFile | None = None
    head: JobFile | None = None
    previous_path: str | None = None
    problem: InputError | None = None
    notes: tuple[str, ...] = ()

    def unread(self) -> "JobPair":
        """The same, as if an unchanged job's file had not been read."""
        return (
            self
            if self.status is not ChangeStatus.UNCHANGED
            else replace(self, base=None, head=None)
        )

    def refused_at(self, clouds: frozenset[str]) -> "JobPair":
        """The same, as broken where the job's data lies in none of the `clouds`: no traffic from
        there has a price.
        """
        at = None if self.head is None else self.head.job.data.at
        if self.head is None or at is None or at.cloud in clouds:
            return self
        if self.status is ChangeStatus.UNCHANGED:
            return self.unread()
        line = self.head.lines.get("broker.data.at", 1)
        problem = InputError(
            f"broker.data.at: there is no cloud {quoted(at.cloud)}",
            where=f"{self.head.source}:{line}",
            hint=nearest_hint(at.cloud, sorted(clouds)),
        )
        return replace(self, status=ChangeStatus.BROKEN, base=None, head=None, problem=problem)

    def said_to_take(self, takes: StatedTime) -> "JobPair":
        """The same, where the files say nothing of how long the job takes."""
        base, head = (
            file
            if file is None or file.job.takes or file.job.replicas
            else replace(file, job=replace(file.job, takes=takes))
            for file in (self.base, self.head)
        )
        return replace(self, base=base, head=head)


def pair_jobs(
    texts: Iterable[TextPair], root: Path, env: EnvFlags = NO_ENV, *, read_all: bool = False
) -> list[JobPair]:
    """The jobs of all files, by path; `read_all` reads the unchanged ones too."""
    pairs: list[JobPair] = []
    for text in texts:
        if text.base is not None and text.base == text.head and not read_all:
            name = _name_at_a_glance(text)
            if name is not None:
                pairs.append(JobPair(text.path, name, ChangeStatus.UNCHANGED))
                continue
        pairs += _pairs_of_file(text, root, env)
    return sorted(_follow_moves(pairs), key=lambda pair: (pair.path, pair.name))


def changed_values(base: Mapping[str, str], head: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """(key, then, now) of each value that differs, in the order of the file; `` for none."""
    keys = list(dict.fromkeys([*head, *base]))
    return [
        (key, base.get(key, ""), head.get(key, ""))
        for key in keys
        if base.get(key) != head.get(key)
    ]


def describe_change(key: str, then: str, now: str) -> str:
    """One changed value on one line; long texts are not repeated."""
    if max(len(then), len(now)) > 60 or "\n" in then + now:
        return f"{key} changed"
    if not then:
        return f"{key}: {quoted(now)} added"
    if not now:
        return f"{key}: {quoted(then)} removed"
    return f"{key}: {then} → {now}"


def _name_at_a_glance(text: TextPair) -> str | None:
    """The name of a file's only job without reading it all; None when that takes a reader."""
    assert text.head is not None
    if b"\n---" in text.head or len(_ANY_NAME.findall(text.head)) > 1:
        return None
    found = _PLAIN_NAME.search(text.head)
    return found[1].decode("ascii") if found else None


def _pairs_of_file(text: TextPair, root: Path, env: EnvFlags) -> list[JobPair]:
    same = text.base is not None and text.base == text.head
    base: list[JobFile] = []
    notes: tuple[str, ...] = ()
    if text.base is not None and not same:
        try:
            base = _read(text.path, text.base, root, env, there=False)
        except InputError as error:
            notes = (f"could not be read at the base: {error.what}",)
    try:
        head = (
            []
            if text.head is None
            else _read(text.path, text.head, root, env, there=text.checked_out)
        )
    except InputError as error:
        if same:
            # Broken before and untouched: not this change's doing.
            return [JobPair(text.path, Path(text.path).stem, ChangeStatus.UNCHANGED)]
        name = base[0].job.name if base else Path(text.path).stem
        return [JobPair(text.path, name, ChangeStatus.BROKEN, problem=error)]
    if same:
        return [JobPair(text.path, f.job.name, ChangeStatus.UNCHANGED, f, f) for f in head]
    return _of_one_pipeline(
        [
            JobPair(text.path, _name(then, now), _status(then, now), then, now, notes=notes)
            for then, now in _match(base, head)
        ]
    )


def _of_one_pipeline(pairs: list[JobPair]) -> list[JobPair]:
    """Of a pipeline each stage is changed where any is: one choice is made for all."""
    sides = [file for pair in pairs for file in (pair.base, pair.head) if file is not None]
    changed = [p.name for p in pairs if p.status is not ChangeStatus.UNCHANGED]
    if not changed or not any(file.pipeline for file in sides):
        return pairs
    shown = ", ".join(changed[:5]) + (" …" if changed[5:] else "")
    why = f"its pipeline changed ({shown})"
    return [
        replace(pair, status=ChangeStatus.CHANGED, notes=(*pair.notes, why))
        if pair.status is ChangeStatus.UNCHANGED
        else pair
        for pair in pairs
    ]


def _read(path: str, content: bytes, root: Path, env: EnvFlags, *, there: bool) -> list[JobFile]:
    folder = (root / path).absolute().parent
    text = decode(content, path)
    pipeline = parse_pipeline(
        text, path, folder, workdir_must_exist=there, env=env, called_from=root
    )
    if pipeline is not None:
        return as_jobs(pipeline)
    return parse_jobs(text, path, folder, workdir_must_exist=there, env=env, called_from=root)


def _match(
    base: Sequence[JobFile], head: Sequence[JobFile]
) -> list[tuple[JobFile | None, JobFile | None]]:
    """Jobs of one file then and now: by name, and the only ones left over by being that."""
    then = {file.job.name: file for file in base}
    matched: list[tuple[JobFile | None, JobFile | None]] = [
        (then.pop(file.job.name, None), file) for file in head
    ]
    new = [index for index, (old, _) in enumerate(matched) if old is None]
    if len(then) == 1 and len(new) == 1:
        matched[new[0]] = (then.popitem()[1], matched[new[0]][1])
    return matched + [(file, None) for file in then.values()]


def _status(base: JobFile | None, head: JobFile | None) -> ChangeStatus:
    if base is None:
        return ChangeStatus.ADDED
    if head is None:
        return ChangeStatus.REMOVED
    return ChangeStatus.UNCHANGED if base.values == head.values else ChangeStatus.CHANGED


def _name(base: JobFile | None, head: JobFile | None) -> str:
    file = head or base
    assert file is not None
    return file.job.name


def _follow_moves(pairs: list[JobPair]) -> list[JobPair]:
    """Removed and added jobs that are the same job in a moved file become one pair."""
    removed = [pair for pair in pairs if pair.status is ChangeStatus.REMOVED]
    added = [pair for pair in pairs if pair.status is ChangeStatus.ADDED]
    if not removed or not added:
        return pairs
    moves = _same_name(removed, added)
    moves += _most_similar(
        [pair for pair in removed if "name" not in _values(pair)],
        [pair for pair in added if "name" not in _values(pair)],
    )
    gone = {id(pair) for move in moves for pair in move}
    joined = [
        JobPair(new.path, new.name, _status(old.base, new.head), old.base, new.head, old.path)
        for old, new in moves
    ]
    return [pair for pair in pairs if id(pair) not in gone] + joined


def _same_name(
    removed: Sequence[JobPair], added: Sequence[JobPair]
) -> list[tuple[JobPair, JobPair]]:
    """Pairs by a name that the file states and that is the only one on both sides."""
    old = _by_stated_name(removed)
    new = _by_stated_name(added)
    return [(old[name], new[name]) for name in sorted(old.keys() & new.keys())]


def _by_stated_name(pairs: Sequence[JobPair]) -> dict[str, JobPair]:
    names = Counter(pair.name for pair in pairs)
    return {p.name: p for p in pairs if names[p.name] == 1 and "name" in _values(p)}


def _most_similar(
    removed: Sequence[JobPair], added: Sequence[JobPair]
) -> list[tuple[JobPair, JobPair]]:
    """Pairs of jobs that are named by their files, most alike first."""
    if len(removed) * len(added) > _MAX_COMPARISONS:
        return []
    ranked = sorted(
        (
            (-_similarity(_values(old), _values(new)), old.path, new.path, i, j)
            for i, old in enumerate(removed)
            for j, new in enumerate(added)
        ),
    )
    moves, used_old, used_new = [], set(), set()
    for distance, _, _, i, j in ranked:
        if -distance >= SIMILAR and i not in used_old and j not in used_new:
            used_old.add(i)
            used_new.add(j)
            moves.append((removed[i], added[j]))
    return moves


def _similarity(a: Mapping[str, str], b: Mapping[str, str]) -> float:
    """The share of values that are equal, of all that either has."""
    return len(a.items() & b.items()) / max(len(a.items() | b.items()), 1)


def _values(pair: JobPair) -> Mapping[str, str]:
    file = pair.head or pair.base
    assert file is not None
    return file.values
