"""One job under one policy on a recorded trace."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlbroker.policies.spot.hazards import (
    PREEMPTIONS_PER_H,
    RECOVERIES_PER_H,
    UNKNOWN_AGE_H,
    Record,
    age_class,
)
from mlbroker.policies.spot.interface import ON_DEMAND, WAIT, Policy, Terms, View, Zone
from mlbroker.policies.spot.shells import held

_NOTHING_H = 1e-9


@dataclass(frozen=True, slots=True)
class Trace:
    """Zones' availability and spot prices in USD an hour; arrays of shape (ticks, zones)."""

    zones: tuple[str, ...]
    regions: tuple[str, ...]
    tick_h: float
    up: NDArray[np.bool_]
    price_usd_per_h: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some hours on one machine, from the job's start: a zone's number or `ON_DEMAND`."""

    place: int
    begin_h: float
    end_h: float


class Moment(NamedTuple):
    """How the job stood at a look, in hours from its start, and USD."""

    at_h: float
    spent_usd: float
    slack_h: float


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of the job. `finished_h` is None where the trace ended first."""

    cost_usd: float
    finished_h: float | None
    restarts: int
    stretches: tuple[Stretch, ...]
    moments: tuple[Moment, ...]


def play(trace: Trace, start: int, terms: Terms, policy: Policy) -> Replayed:
    """The job begins with tick `start`; the shells hold whatever the policy wishes."""
    job, moments = _Job(trace, terms), []
    for at in range(start, len(trace.up)):
        job.look(trace.up[at].tolist(), trace.price_usd_per_h[at].tolist())
        if job.beside is None:
            job.go(held(policy.decide(job.view), job.view))
        moments.append(Moment(job.now_h, job.view.spent_usd, job.view.slack_h))
        job.pass_tick()
        if job.view.work_left_h == 0:
            break
    done = job.view.work_left_h == 0
    job.end()
    moments.append(Moment(job.now_h, job.view.spent_usd, job.view.slack_h))
    return Replayed(
        cost_usd=job.view.spent_usd,
        finished_h=job.now_h if done else None,
        restarts=max(0, job.starts - 1),
        stretches=tuple(job.past),
        moments=tuple(moments),
    )


@dataclass(slots=True)
class _Machine:
    place: int
    boot_left_h: float
    begin_h: float


class _Job:
    def __init__(self, trace: Trace, terms: Terms) -> None:
        zones = [
            Zone(name, region, False, 0.0, -1.0, Record(), Record(), terms.once_usd)
            for name, region in zip(trace.zones, trace.regions, strict=True)
        ]
        work, all_h = terms.work_h, terms.deadline_h
        self.view = View(terms, zones, all_h, work, work, 0.0, WAIT, 0.0, None)
        self.on: _Machine | None = None
        self.beside: _Machine | None = None  # boots while the other works, and takes over
        self.past: list[Stretch] = []
        self.starts = 0
        self.now_h = 0.0

    def look(self, up: Sequence[bool], price: Sequence[float]) -> None:
        """See which zones have machines now; one that is taken takes the unsaved work along."""
        for zone, is_up, usd in zip(self.view.zones, up, price, strict=True):
            _notice(zone, is_up, self.view.terms.tick_h)
            zone.price_usd_per_h = usd
        if self._is_taken(self.beside):
            self._ended(self.beside)
            self.beside = None
        if self._is_taken(self.on):
            self._ended(self.on)
            self.view.work_left_h = self.view.saved_left_h
            self.on, self.beside = self.beside, None
        self._tell_where()

    def go(self, place: int) -> None:
        """Keep, leave, or start a machine, beside the one that works."""
        view = self.view
        if place == WAIT:
            self._ended(self.on)
            self.on = None
        elif place != view.on:
            self.starts += 1
            view.spent_usd += view.terms.once_usd
            region = view.zones[place].region if place >= 0 else view.region
            if view.region not in (None, region):
                view.spent_usd += view.terms.egress_usd
            view.region = region
            machine = _Machine(place, view.terms.restart_h, self.now_h)
            if self.on and not view.terms.overlaps:
                # Ended in order, its work comes along.
                view.saved_left_h = view.work_left_h
                self._ended(self.on)
                self.on = None
            self.on, self.beside = (self.on, machine) if self.on else (machine, None)

    def pass_tick(self) -> None:
        """Work and pay until the next look, or until the work is done."""
        view, left = self.view, self.view.terms.tick_h
        while left > _NOTHING_H and view.work_left_h > 0:
            self._hand_over()
            works = self.on is not None and self.on.boot_left_h == 0
            machines = [machine for machine in (self.on, self.beside) if machine]
            boots = [machine.boot_left_h for machine in machines if machine.boot_left_h > 0]
            span = min([left, *boots, *([view.work_left_h] if works else [])])
            for machine in machines:
                view.spent_usd += self._usd_per_h(machine.place) * span
                machine.boot_left_h = _less(machine.boot_left_h, span)
            if works:
                self._work(span)
            left -= span
            self.now_h += span
        self._hand_over()
        view.time_left_h = view.terms.deadline_h - self.now_h

    def _hand_over(self) -> None:
        """What has booted beside the other takes over, with the work as it is."""
        if self.on and self.beside and self.beside.boot_left_h == 0:
            self._ended(self.on)
            self.on, self.beside = self.beside, None
            self.view.saved_left_h = self.view.work_left_h

    def end(self) -> None:
        """Nothing runs any more."""
        self._ended(self.on)
        self._ended(self.beside)

    def _work(self, span_h: float) -> None:
        view = self.view
        view.work_left_h = _less(view.work_left_h, span_h)
        safe = self.on is not None and self.on.place == ON_DEMAND
        if safe or view.saved_left_h - view.work_left_h >= view.terms.lost_h:
            view.saved_left_h = view.work_left_h

    def _usd_per_h(self, place: int) -> float:
        view = self.view
        return view.zones[place].price_usd_per_h if place >= 0 else view.terms.on_demand_usd_per_h

    def _is_taken(self, machine: _Machine | None) -> bool:
        return machine is not None and machine.place >= 0 and not self.view.zones[machine.place].up

    def _ended(self, machine: _Machine | None) -> None:
        if machine is not None:
            self.past.append(Stretch(machine.place, machine.begin_h, self.now_h))

    def _tell_where(self) -> None:
        self.view.on = self.on.place if self.on else WAIT
        self.view.boot_left_h = self.on.boot_left_h if self.on else 0.0


def _less(hours: float, span_h: float) -> float:
    left = hours - span_h
    return left if left > _NOTHING_H else 0.0


def _notice(zone: Zone, is_up: bool, tick_h: float) -> None:
    """One more look at a zone."""
    if zone.since_h < 0:
        zone.up, zone.since_h = is_up, UNKNOWN_AGE_H
        return
    rates, record = (
        (PREEMPTIONS_PER_H, zone.preempted) if zone.up else (RECOVERIES_PER_H, zone.recovered)
    )
    record.expected += float(rates[age_class(zone.since_h)]) * tick_h
    if is_up == zone.up:
        zone.since_h += tick_h
    else:
        record.events += 1
        zone.up, zone.since_h = is_up, 0.0
