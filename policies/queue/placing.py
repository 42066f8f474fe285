"""Gangs on places: where one fits, who stands in the way, what fits behind a reservation."""

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from mlbroker.policies.queue.interface import (
    Action,
    Decision,
    Decisions,
    Job,
    Running,
    State,
    believed_h,
    cautious_h,
)


class Room:
    """The free places of each pool, while decisions are taken."""

    def __init__(self, state: State) -> None:
        self.free = dict(state.pools)
        self.whole = state.pools
        for each in state.running:
            if each.pool in self.free:
                self.free[each.pool] -= each.job.places

    def may_run(self, job: Job) -> list[str]:
        """The pools that hold the gang when they are empty."""
        if job.pools is None and len(self.whole) == 1:
            return [name for name, places in self.whole.items() if places >= job.places]
        allowed = self.whole if job.pools is None else job.pools & self.whole.keys()
        return sorted(name for name in allowed if self.whole[name] >= job.places)

    def pool_for(self, job: Job) -> str | None:
        """Where it fits now; of several the one that it fills most."""
        if job.pools is None and len(self.free) == 1:
            (name,) = self.free
            return name if self.free[name] >= job.places else None
        fits = [name for name in self.may_run(job) if self.free[name] >= job.places]
        return min(fits, key=lambda name: self.free[name], default=None)

    def take(self, pool: str, places: int) -> None:
        """Places of the pool; a negative number gives them back."""
        self.free[pool] -= places


def start(job: Job, pool: str, reason: str, promoted: bool = False) -> Decision:
    """The job starts."""
    return Decision(job.id, Action.START, reason, pool, promoted)


def in_order(state: State, order: Sequence[Job], reason: str) -> Decisions:
    """First come in `order`, first served; nobody passes a job that does not fit yet.

    Gangs that fit nowhere, even when all is empty, hold up nobody.
    """
    room = Room(state)
    changes: list[Decision] = []
    for number, job in enumerate(order):
        pool = room.pool_for(job)
        if pool is None and room.may_run(job):
            return Decisions(tuple(changes), _ids(order[number:]))
        if pool is not None:
            room.take(pool, job.places)
            changes.append(start(job, pool, reason))
    started = {change.job_id for change in changes}
    return Decisions(tuple(changes), tuple(job.id for job in order if job.id not in started))


class Outlook:
    """When places get free, as far as predictions hold: jobs are put behind each other."""

    def __init__(self, state: State, cautious: bool = False) -> None:
        room = Room(state)
        self._room = room
        self._hours = cautious_h if cautious else believed_h
        self._free: dict[str, list[tuple[float, int]]] = {
            pool: [(0.0, places)] if places > 0 else [] for pool, places in room.free.items()
        }
        for each in state.running:
            if each.pool in self._free:
                hours = each.job.setup_h + self._hours(each.job)
                self._free[each.pool].append((hours, each.job.places))
        for heap in self._free.values():
            heapq.heapify(heap)

    def wait_h(self, job: Job) -> float | None:
        """In how many hours the job could start; None: it fits nowhere."""
        found = self._earliest(job)
        return None if found is None else found[0]

    def put(self, job: Job) -> float | None:
        """The same, and from then on its places are taken."""
        found = self._earliest(job)
        if found is None:
            return None
        in_h, pool = found
        heap, places = self._free[pool], 0
        while places < job.places:
            places += heapq.heappop(heap)[1]
        heapq.heappush(heap, (in_h + job.setup_h + self._hours(job), job.places))
        if places > job.places:
            heapq.heappush(heap, (in_h, places - job.places))
        return in_h

    def _earliest(self, job: Job) -> tuple[float, str] | None:
        found: list[tuple[float, str]] = []
        for pool in self._room.may_run(job):
            heap = self._free[pool]
            if heap[0][1] >= job.places:
                found.append((heap[0][0], pool))
                continue
            taken, places = [], 0
            while places < job.places:
                taken.append(heapq.heappop(heap))
                places += taken[-1][1]
            found.append((taken[-1][0], pool))
            for each in taken:
                heapq.heappush(heap, each)
        return min(found, default=None)


class _Reservation(NamedTuple):
    pool: str
    in_h: float
    spare: int  # places of the pool that are free besides it then


def backfilled(state: State, order: Sequence[Job], reason: str) -> Decisions:
    """EASY: the first that does not fit gets a reservation, who follows may not delay it.

    Lifka, The ANL/IBM SP scheduling system (1995), with predictions for the users' limits.
    """
    room = Room(state)
    if not any(room.free.values()):
        return Decisions((), _ids(order))
    changes: list[Decision] = []
    waits: list[str] = []
    busy = list(state.running)
    reserved: _Reservation | None = None
    for job in order:
        pool = room.pool_for(job)
        if pool is None:
            waits.append(job.id)
            if reserved is None and room.may_run(job):
                reserved = _reserve(room, job, busy)
            continue
        if reserved is not None and pool == reserved.pool:
            if job.setup_h + believed_h(job) > reserved.in_h:
                if job.places > reserved.spare:
                    waits.append(job.id)
                    continue
                reserved = reserved._replace(spare=reserved.spare - job.places)
            why = f"{reason}, into places free until a reservation"
        else:
            why = reason
        room.take(pool, job.places)
        busy.append(Running(job, pool))
        changes.append(start(job, pool, why))
        if not any(room.free.values()):
            started = {change.job_id for change in changes}
            return Decisions(tuple(changes), tuple(j.id for j in order if j.id not in started))
    return Decisions(tuple(changes), tuple(waits))


def _reserve(room: Room, job: Job, busy: Iterable[Running]) -> _Reservation:
    """The earliest that the gang fits, as far as predictions hold."""
    found = []
    ends = sorted((believed_h(each.job), each.job.places, each.pool) for each in busy)
    for pool in room.may_run(job):
        free, in_h = room.free[pool], 0.0
        for end_h, places, where in ends:
            if where == pool and free < job.places:
                free, in_h = free + places, end_h
        found.append(_Reservation(pool, in_h, free - job.places))
    return min(found, key=lambda each: (each.in_h, each.pool))


def preempting(
    state: State, by: Callable[[Job], tuple[float, float, str]], reason: str
) -> Decisions:
    """The first in the order of `by` that fit have the places; who runs and is not among them
    yields.

    What is fixed stays first. Running jobs keep their pool, and come first among equals.
    """
    room = Room(state)
    jobs: list[tuple[Job, str | None]] = []
    for each in state.running:
        if not each.is_fixed:
            room.take(each.pool, -each.job.places)
            jobs.append((each.job, each.pool))
    jobs += [(job, None) for job in state.waiting]
    yields: list[Decision] = []
    starts: list[Decision] = []
    waits: list[str] = []
    for job, held in sorted(jobs, key=lambda pair: by(pair[0])):
        pool = held or room.pool_for(job)
        if pool is not None and room.free[pool] >= job.places:
            room.take(pool, job.places)
            if held is None:
                starts.append(start(job, pool, reason))
        elif held is None:
            waits.append(job.id)
        else:
            yields.append(Decision(job.id, Action.YIELD, f"others come before it: {reason}"))
    return Decisions((*yields, *starts), tuple(waits))


def _ids(jobs: Sequence[Job]) -> tuple[str, ...]:
    return tuple(job.id for job in jobs)
