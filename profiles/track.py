"""Step events of one run, from all that counted them, and which of the counts to believe."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

# Who counts, best first: what the user said about the job, then what a training library does,
# then bars on the screen. Bars are called `tqdm@FILE:LINE`.
PREFERENCE = ("regex", "marker", "steps", "file", "torch", "keras", "lightgbm", "xgboost", "tqdm")
TRAINING_LIBRARIES = ("torch", "keras", "lightgbm", "xgboost")


@dataclass(frozen=True, slots=True)
class Track:
    """By `times_s[i]` after the start of the job, `counts[i]` steps were done.

    Both grow. `total` is the number of steps of the whole job, None when nobody knows it.
    `waited_s` is how long the loop waited for its data until the last event.
    """

    source: str
    times_s: Sequence[float]
    counts: Sequence[int]
    total: int | None = None
    waited_s: float = 0.0

    @property
    def steps(self) -> int:
        """Steps seen."""
        return self.counts[-1] - self.counts[0]


@dataclass(slots=True)
class _Stream:
    times_s: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    total: int = 0
    waited_s: float = 0.0


class Tracks:
    """Collects the events of all sources and processes while they come in."""

    def __init__(self) -> None:
        self._streams: dict[tuple[str, int], _Stream] = {}
        self.events = 0

    def add(self, events: Iterable[Sequence[float | int | str]]) -> None:
        """Events as the agent reports them: source, process, time, count, total, waited."""
        for source, pid, time_s, count, total, waited_s in events:
            stream = self._streams.setdefault((str(source), int(pid)), _Stream())
            if not stream.counts or (
                int(count) > stream.counts[-1] and float(time_s) > stream.times_s[-1]
            ):
                stream.times_s.append(float(time_s))
                stream.counts.append(int(count))
                self.events += 1
            stream.total = int(total)
            stream.waited_s = float(waited_s)

    @property
    def sources(self) -> list[str]:
        """Who has counted a step so far."""
        return sorted({source for (source, _), s in self._streams.items() if s.counts[-1] > 0})

    def best(self, libraries: Iterable[str], total: int | None) -> Track | None:
        """The count to believe, None as long as nothing that can be believed has spoken.

        `libraries` are the training libraries the job has loaded: while one of them has not made
        a step, a bar is taken for preparation. `total` is what the job file says, which wins.
        """
        spoken = {key: s for key, s in self._streams.items() if s.counts[-1] > 0}
        if not spoken:
            return None
        kinds = [kind for kind in PREFERENCE if any(_kind(key) == kind for key in spoken)]
        if not kinds:
            return None
        kind = kinds[0]
        if kind == "tqdm" and total is None and set(libraries) & set(TRAINING_LIBRARIES):
            return None
        streams = {key: s for key, s in spoken.items() if _kind(key) == kind}
        key = max(streams, key=lambda k: _rank(kind, streams[k]))
        stream = streams[key]
        return Track(
            key[0],
            tuple(stream.times_s),
            tuple(stream.counts),
            total or _total(stream, spoken),
            stream.waited_s,
        )


def _kind(key: tuple[str, int]) -> str:
    return key[0].partition("@")[0]


def _rank(kind: str, stream: _Stream) -> tuple[float, ...]:
    # Of several bars the one that began last is the training; else the longest count wins.
    if kind == "tqdm":
        return (stream.times_s[0], stream.counts[-1])
    return (stream.counts[-1], -stream.times_s[0])


def _total(stream: _Stream, spoken: Mapping[tuple[str, int], _Stream]) -> int | None:
    """The stream's own total, or that of another that advances with it."""
    if stream.total >= stream.counts[-1] > 0:
        return stream.total
    for other in spoken.values():
        if other.total < other.counts[-1] or not _side_by_side(stream, other):
            continue
        # A bar may count batches where the optimizer counts every fourth of them.
        ratio = stream.counts[-1] / other.counts[-1]
        ratio = float(round(ratio)) if ratio > 1 else 1 / round(1 / ratio)
        return round(other.total * ratio)
    return None


def _side_by_side(one: _Stream, other: _Stream) -> bool:
    """Whether both were counting over most of the same time."""
    begin = max(one.times_s[0], other.times_s[0])
    end = min(one.times_s[-1], other.times_s[-1])
    longest = max(one.times_s[-1] - one.times_s[0], other.times_s[-1] - other.times_s[0])
    return longest > 0 and (end - begin) > 0.8 * longest
