"""Step events of one run, from all that counted them, and which of the counts to believe.

`profile` asks here, and so does `run` on the job's machine: the guest's folder holds this same
file by a link. Python 3.8, standard library.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import Dict, Iterable, Mapping, Sequence, Tuple

# Who counts, best first: what the user said about the job, then what a training library does,
# then bars on the screen. Bars are called `tqdm@FILE:LINE`.
PREFERENCE = ("regex", "marker", "steps", "file", "torch", "keras", "lightgbm", "xgboost", "tqdm")
# How long a bar must move before it is believed while a training library is loaded and silent.
SILENT_LIBRARY_S = 30.0
# Beyond so many events of one stream every other one is dropped: batches tell as much.
MAX_EVENTS = 40_000

Event = Tuple[str, int, float, int, int, float]
Key = Tuple[str, int]


@dataclass(frozen=True)
class StepSeries:
    """By `times_s[i]` after the start of the job, `counts[i]` steps were done.

    Both grow. `total` is the number of steps of the whole job, None when nobody knows it, and
    `told` what those who count tell of it, whatever the user says.
    `waited_s` is how long the loop waited for its data until the last event.
    """

    source: str
    times_s: Sequence[float]
    counts: Sequence[int]
    total: int | None = None
    waited_s: float = 0.0
    told: int | None = None

    @property
    def steps(self) -> int:
        """Steps seen."""
        return self.counts[-1] - self.counts[0]


@dataclass
class _Stream:
    times_s: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    total: int = 0
    waited_s: float = 0.0
    parent: str | None = None

    def add(self, time_s: float, count: int, most_events: int) -> None:
        if self.counts and (count <= self.counts[-1] or time_s <= self.times_s[-1]):
            return
        self.times_s.append(time_s)
        self.counts.append(count)
        if len(self.counts) > most_events:
            del self.times_s[1::2]
            del self.counts[1::2]

    def followed_by(self, later: _Stream) -> _Stream:
        """Both, one after the other: how many more there will be is not known."""
        done = self.counts[-1]
        more = [(t, done + n) for t, n in zip(later.times_s, later.counts) if n > 0]
        return _Stream(
            [*self.times_s, *(t for t, _ in more)],
            [*self.counts, *(n for _, n in more)],
            0,
            self.waited_s + later.waited_s,
            later.parent,
        )

    @property
    def spoke(self) -> bool:
        return bool(self.counts) and self.counts[-1] > 0


class StepStreams:
    """Collects the events of all sources and processes while they come in."""

    def __init__(self, most_events: int = MAX_EVENTS) -> None:
        self._most_events = most_events
        self._streams: Dict[Key, _Stream] = {}
        self._libraries: set[str] = set()
        self.events = 0

    def add(self, events: Iterable[Event]) -> None:
        """Events as the agent reports them: source, process, time, count, total, waited."""
        for source, pid, time_s, count, total, waited_s in events:
            stream = self._streams.setdefault((source, pid), _Stream())
            stream.add(time_s, count, self._most_events)
            stream.total = total
            stream.waited_s = waited_s
            self.events += 1

    def note(self, source: str, pid: int, key: str, value: str) -> None:
        """What a source says of itself: a training library was loaded, a bar is inside another."""
        if key == "library":
            self._libraries.add(source)
        elif key == "parent":
            self._streams.setdefault((source, pid), _Stream()).parent = value

    @property
    def sources(self) -> list[str]:
        """Who has counted a step so far."""
        return sorted({key[0] for key, stream in self._streams.items() if stream.spoke})

    def best(self, total: int | None, final: bool = False) -> StepSeries | None:
        """The count to believe, None as long as nothing that can be believed has spoken.

        While a training library is loaded that has not made a step, a bar is at first taken for
        preparation; unless this is the `final` answer. `total` is what the job file says, and wins.
        """
        spoken = _in_turn({key: stream for key, stream in self._streams.items() if stream.spoke})
        kind = next((k for k in PREFERENCE if any(_kind(key) == k for key in spoken)), None)
        if kind is None:
            return None
        streams = {key: stream for key, stream in spoken.items() if _kind(key) == kind}
        if kind == "tqdm":
            key = _training_bar(streams)
            moved_s = streams[key].times_s[-1] - streams[key].times_s[0]
            if self._libraries and not final and total is None and moved_s < SILENT_LIBRARY_S:
                return None
        else:
            key = max(streams, key=lambda k: (streams[k].counts[-1], -streams[k].times_s[0]))
        stream = streams[key]
        told = _total(stream, spoken)
        return StepSeries(
            key[0],
            tuple(stream.times_s),
            tuple(stream.counts),
            total or told,
            stream.waited_s,
            told,
        )


def _in_turn(streams: Mapping[Key, _Stream]) -> dict[Key, _Stream]:
    """Processes that count the same one after the other (a loop in the shell) count as one."""
    joined: dict[Key, _Stream] = {}
    last: dict[str, Key] = {}
    for key in sorted(streams, key=lambda k: streams[k].times_s[0]):
        before = last.get(key[0])
        if before is not None and joined[before].times_s[-1] <= streams[key].times_s[0]:
            joined[before] = joined[before].followed_by(streams[key])
        else:
            joined[key] = streams[key]
            last[key[0]] = key
    return joined


def _kind(key: Key) -> str:
    return key[0].partition("@")[0]


def _training_bar(bars: Mapping[Key, _Stream]) -> Key:
    """Of bars with no others inside, the last to begin; of such that take turns, the longest."""
    outer = {stream.parent for stream in bars.values()}
    leaves = sorted((k for k in bars if k[0] not in outer), key=lambda k: bars[k].times_s[0])
    chosen = leaves[0]
    for key in leaves[1:]:
        old, new = bars[chosen], bars[key]
        together = old.parent is not None and old.parent == new.parent
        if together or old.times_s[-1] > new.times_s[0]:
            chosen = max(chosen, key, key=lambda k: _stepping_s(bars[k]))
        else:
            chosen = key
    return chosen


def _stepping_s(stream: _Stream) -> float:
    """Time spent in the bar's own steps: the gaps in which another bar ran are left out."""
    gaps = [later - t for t, later in zip(stream.times_s, stream.times_s[1:])]
    usual = sorted(gaps)[len(gaps) // 2] if gaps else 0.0
    return sum(min(gap, 10 * usual) for gap in gaps)


def _total(stream: _Stream, spoken: Mapping[Key, _Stream]) -> int | None:
    """The stream's own total, or what is left by that of another that advances with it."""
    if stream.total >= stream.counts[-1] > 0:
        return stream.total
    for other in spoken.values():
        if other.total < other.counts[-1]:
            continue
        begin = max(stream.times_s[0], other.times_s[0])
        end = min(stream.times_s[-1], other.times_s[-1])
        shorter = min(s.times_s[-1] - s.times_s[0] for s in (stream, other))
        if end - begin < 0.8 * shorter:
            continue
        mine, theirs = _steps_between(stream, begin, end), _steps_between(other, begin, end)
        if mine == 0 or theirs == 0:
            continue
        # A bar may count batches where the optimizer counts every fourth of them.
        ratio = float(round(mine / theirs)) if mine >= theirs else 1 / round(theirs / mine)
        return stream.counts[-1] + round((other.total - other.counts[-1]) * ratio)
    return None


def _steps_between(stream: _Stream, begin: float, end: float) -> int:
    first = stream.counts[bisect_left(stream.times_s, begin)]
    return stream.counts[bisect_right(stream.times_s, end) - 1] - first
