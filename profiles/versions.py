"""What has changed of a job since it was measured, and how much less its old times say for it."""

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

# How far the logarithm of a time may have moved (its standard deviation) by a change of this kind:
# our own order, from what can hardly matter to what a job is (decision 035).
COMMENTS = 0.02
CODE_LEAST, CODE_MOST = 0.15, 0.5
SETUP = 0.5
COMMAND = 0.7
# Above this, what was measured was another job.
UNRELATED = 1.0
# Data that grew or shrank by less than this makes no other version.
DATA_TOLERANCE = 0.1


class Change(NamedTuple):
    """One thing that differs: in words, and by how much it may have moved log time.

    `alters` what the job does: how it failed, and what it needed, may be over.
    """

    words: str
    sigma_log: float
    alters: bool = True


class Difference(NamedTuple):
    """All that differs between a job when it was measured and now."""

    changes: tuple[Change, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """In words."""
        return tuple(change.words for change in self.changes)

    @property
    def sigma_log(self) -> float:
        """How much wider a time of then is for the job as it is now."""
        return math.hypot(*(change.sigma_log for change in self.changes))

    @property
    def alters(self) -> bool:
        """Whether it does something else by now."""
        return any(change.alters for change in self.changes)

    @property
    def unrelated(self) -> bool:
        """Whether so much has changed that it was another job."""
        return self.sigma_log >= UNRELATED


def difference(
    then: Mapping[str, str], now: Mapping[str, str], essence: Callable[[str], str | None]
) -> Difference:
    """What differs between two states of a job, of which `broker.evidence.facts` tells.

    `essence(path)` digests a program file as it is now, without comments and blank space.
    """
    return Difference(tuple(_changes(then, now, essence)))


def _changes(
    then: Mapping[str, str], now: Mapping[str, str], essence: Callable[[str], str | None]
) -> Iterator[Change]:
    if then.get("command") != now.get("command"):
        yield Change("its command changed", COMMAND)
    if then.get("setup") != now.get("setup"):
        yield Change("its setup changed", SETUP)
    yield from _code(then, now, essence)
    if then.get("envs") != now.get("envs"):
        yield Change(f"its envs changed ({', '.join(_differing(then, now))})", COMMAND)
    if then.get("nodes") != now.get("nodes"):
        # Estimators tell numbers of nodes apart by themselves.
        yield Change(f"it ran on {then.get('nodes')} nodes, now {now.get('nodes')}", COMMENTS)
    if then.get("input_gb") != now.get("input_gb"):
        yield Change(
            f"its input was {then.get('input_gb')} GB, now {now.get('input_gb')} GB", COMMAND
        )
    yield from _data(then, now)


def _code(
    then: Mapping[str, str], now: Mapping[str, str], essence: Callable[[str], str | None]
) -> Iterator[Change]:
    if then.get("code") == now.get("code"):
        return
    old, new = (json.loads(facts.get("files", "{}")) for facts in (then, now))
    if not old or not new:
        yield Change("its code changed", CODE_MOST)
        return
    touched = [path for path in {*old, *new} if old.get(path, [""])[0] != new.get(path, [""])[0]]
    changed = [
        path
        for path in touched
        if path not in old or path not in new or old[path][1:] != [essence(path)]
    ]
    if not changed:
        words = f"only comments or blank space of {_files(touched)} changed"
        yield Change(words, COMMENTS, alters=False)
        return
    share = len(changed) / len({*old, *new})
    yield Change(f"{_files(changed)} changed", CODE_LEAST + (CODE_MOST - CODE_LEAST) * share)


def _files(paths: Collection[str]) -> str:
    return "1 file" if len(paths) == 1 else f"{len(paths)} files"


def _differing(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    old, new = json.loads(then.get("envs", "{}")), json.loads(now.get("envs", "{}"))
    return sorted(name for name in {*old, *new} if old.get(name) != new.get(name))


def _data(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Change]:
    sizes = json.loads(now.get("data", "{}"))
    for name, size in json.loads(then.get("data", "{}")).items():
        if name not in sizes:
            yield Change(f"{name} is gone", COMMAND)
        elif abs(sizes[name] - size) > DATA_TOLERANCE * size:
            moved = abs(math.log(max(sizes[name], 1) / max(size, 1)))
            words = f"{name} had {size:,} bytes, now {sizes[name]:,}"
            yield Change(words, max(COMMAND, min(moved, UNRELATED)))
