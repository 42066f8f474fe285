"""Who stands before whom at a machine of the user's own: as the ledger has it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from mlbroker.broker.clouds.interface import Cloud
from mlbroker.broker.errors import CloudError
from mlbroker.broker.ledger import Attempt, Run, State
from mlbroker.broker.runs.order import LaunchOption

# Between a run's start and its place being seen as taken. One that takes longer has died.
STARTING_S = 60.0
_STARTING = frozenset({State.RESERVED, State.INTENDED, State.ARMED, State.REFUSED, State.ABSENT})


def place_name(at: LaunchOption | Attempt | Mapping[str, Any]) -> str:
    """A machine, as the runs that wait for it call it."""
    if isinstance(at, Mapping):
        return f"{at['cloud']}/{at['instance_type']}"
    return f"{at.cloud}/{at.instance_type}"


@dataclass(frozen=True, slots=True)
class Line:
    """The runs that wait for one machine, the next one first, and who is starting there now."""

    waiting: tuple[Run, ...]
    starting: tuple[Run, ...]

    @classmethod
    def at(cls, place: str, runs: Sequence[Run], now: datetime) -> "Line":
        """Of all open runs, those at this place."""
        here = [run for run in runs if _place_of(run) == place]
        queued = [run for run in here if run.state is State.QUEUED and not run.on_hold]
        late = now - timedelta(seconds=STARTING_S)
        starting = [r for r in here if r.state in _STARTING and (r.moved_at or now) > late]
        return cls(tuple(sorted(queued, key=_rank)), tuple(starting))

    @property
    def first(self) -> Run | None:
        """Who goes next."""
        return self.waiting[0] if self.waiting else None

    def before(self, run_id: str) -> list[Run]:
        """Who goes before this run, of those starting and waiting: all, where it is on hold."""
        in_turn = [*self.starting, *self.waiting]
        return list(takewhile(lambda run: run.run_id != run_id, in_turn))

    def is_turn_of(self, run_id: str) -> bool:
        """Whether this run may take the place."""
        first = self.first
        return not self.starting and first is not None and first.run_id == run_id


def _place_of(run: Run) -> str:
    if run.attempts and run.state is not State.QUEUED:
        return place_name(run.attempt)
    candidate = run.details.get("candidate")
    return place_name(candidate) if candidate else ""


def _rank(run: Run) -> tuple[int, datetime, str]:
    return -run.raised, run.reserved_at, run.run_id


def waits_at(
    option: LaunchOption, opened: Callable[[str], Cloud], now: datetime
) -> Callable[[Sequence[Run]], bool] | None:
    """Whether a run that is about to be opened has to queue there, given the open ones; None where
    nobody queues.
    """
    cloud = opened(option.cloud)
    if cloud.places(option.instance_type) is None:
        return None
    try:
        room = cloud.has_room(option.instance_type)
    except CloudError:
        # Whoever carries it asks again, and says what is wrong.
        room = True

    def waits(runs: Sequence[Run]) -> bool:
        line = Line.at(place_name(option), runs, now)
        return not room or bool(line.waiting or line.starting)

    return waits
