"""What the user's own runs saw of spot machines: how long each lived, and how long none was had."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from mlbroker.broker.ledger import Attempt, Ledger
from mlbroker.policies.spot.beliefs import Observation, Place, What
from mlbroker.policies.spot.hazards import UNKNOWN_AGE_H
from mlbroker.pricing.offer import Market

# Who vanished from the vendor's list was taken more likely than not: nobody else ended it.
TAKEN = frozenset({"preempted", "lost"})
# What was between two looks further apart than this, nobody saw.
SAME_OUTAGE = timedelta(hours=1)


class _Look(NamedTuple):
    """What a place answered at one moment."""

    at: datetime
    what: str  # refused, had, or taken


def observations(ledger: Ledger, now: datetime | None = None) -> tuple[Observation, ...]:
    """Every spot machine of the ledger, and every outage that a request ran into.

    Machines that are still up count until `now`, where that is told.
    """
    attempts = [
        attempt
        for run in ledger.runs(Market.SPOT)
        for attempt in run.attempts
        if attempt.market == Market.SPOT
    ]
    return (*_lives(attempts, now), *_outages(attempts))


def _lives(attempts: Iterable[Attempt], now: datetime | None) -> Iterator[Observation]:
    for attempt in attempts:
        ended_at = attempt.ended_at or now
        # Of one that is charged at most, nobody knows when it ended.
        if attempt.machine_id is None or ended_at is None or attempt.at_most:
            continue
        taken = attempt.ended_at is not None and attempt.why in TAKEN
        lived_h = max(0.0, _hours(ended_at - attempt.began_at))
        yield Observation(
            _place(attempt), What.MACHINE, 0.0, lived_h, taken, ended_at, attempt.nodes
        )


def _outages(attempts: Iterable[Attempt]) -> Iterator[Observation]:
    looks: dict[Place, list[_Look]] = defaultdict(list)
    for attempt in attempts:
        here = looks[_place(attempt)]
        if attempt.machine_id is not None:
            here.append(_Look(attempt.began_at, "had"))
            if attempt.ended_at is not None and attempt.why in TAKEN and not attempt.at_most:
                here.append(_Look(attempt.ended_at, "taken"))
        elif attempt.why == "no_capacity":
            here.append(_Look(attempt.intended_at, "refused"))
    for place, seen in looks.items():
        yield from _outages_of(place, sorted(seen))


def _outages_of(place: Place, looks: list[_Look]) -> Iterator[Observation]:
    start = 0
    for stop in range(1, len(looks) + 1):
        if stop < len(looks) and _goes_on(looks[stop - 1], looks[stop]):
            continue
        if looks[start].what == "refused":
            before = looks[start - 1] if start else None
            after = looks[stop] if stop < len(looks) else None
            yield _outage(place, looks[start].at, looks[stop - 1].at, before, after)
        start = stop


def _goes_on(look: _Look, after: _Look) -> bool:
    both = look.what == after.what == "refused"
    return both and after.at - look.at <= SAME_OUTAGE


def _outage(
    place: Place, first: datetime, last: datetime, before: _Look | None, after: _Look | None
) -> Observation:
    """From the first refusal to the last, and to the middle of the gap before one was had.

    It is older by what passed since a machine was taken there, and of unknown age without one.
    """
    age_h, until, had = UNKNOWN_AGE_H, last, False
    if before is not None and before.what == "taken" and first - before.at <= SAME_OUTAGE:
        age_h = _hours(first - before.at)
    if after is not None and after.what == "had" and after.at - last <= SAME_OUTAGE:
        until, had = last + (after.at - last) / 2, True
    return Observation(place, What.OUTAGE, age_h, age_h + _hours(until - first), had, last)


def _place(attempt: Attempt) -> Place:
    return Place(attempt.cloud, attempt.region, attempt.zone, attempt.instance_type)


def _hours(span: timedelta) -> float:
    return span.total_seconds() / 3600
