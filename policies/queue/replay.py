"""A table of jobs under one policy: what would have happened."""

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mlbroker.policies.queue.interface import (
    Action,
    Cloud,
    Decision,
    Decisions,
    Job,
    Policy,
    Running,
    State,
    Team,
)
from mlbroker.policies.queue.remaining import remaining_h

POOL = "own"
# Use of long ago counts less for fair shares: half after a week, Slurm's default.
_HALF_LIFE_S = 7 * 86_400
# The error of predictions is learnt from jobs that have ended, from this belief on.
_SIGMA, _SIGMA_WEIGHT = 0.5, 10.0
_LEAST_STEP_S = 1.0

Watcher = Callable[[State, Decisions], None]


class TrueJob(NamedTuple):
    """A job with what nobody knew before its end: `duration_s` without any interruption."""

    id: str
    submit_s: float
    places: int
    duration_s: float
    predicted_s: float | None
    value_usd_per_h: float
    team: str = ""
    deadline_s: float | None = None
    preemptible: bool = True


class Site(NamedTuple):
    """Own places and the cloud; `restart_s` passes on the places when a job works on again."""

    places: int
    restart_s: float
    cloud: Cloud | None


class Ended(NamedTuple):
    """What became of a job. `finish_s` is None where it never ran: its gang fits nowhere."""

    job: TrueJob
    finish_s: float | None
    cloud_usd: float
    preemptions: int
    busy: tuple[tuple[float, float], ...]  # spans on own places, restarts left out

    @property
    def wait_h(self) -> float:
        """All time that was not its work: queue, restarts, the cloud's set-up."""
        if self.finish_s is None:
            return math.inf
        return max(self.finish_s - self.job.submit_s - self.job.duration_s, 0.0) / 3600


def play(
    jobs: Sequence[TrueJob], site: Site, policy: Policy, watch: Watcher | None = None
) -> list[Ended]:
    """Every job to its end, in the order given; `watch` hears every decision."""
    return _Play(jobs, site, policy, watch).to_the_end()


@dataclass(slots=True)
class _Live:
    true: TrueJob
    job: Job  # as it was when it last stopped
    left_s: float
    attained_s: float = 0.0
    works_from_s: float = 0.0  # on its places, after a restart
    spell: int = 0  # which stay on own places this is; ends of earlier ones are void
    preemptions: int = 0
    cloud_usd: float = 0.0
    finish_s: float | None = None
    believed: Job | None = None  # while it waits, with the error that was known then
    believed_with: float = 0.0
    busy: list[tuple[float, float]] = field(default_factory=list)

    def worked_s(self, now_s: float) -> float:
        """In this stay."""
        return max(now_s - self.works_from_s, 0.0)


class _Play:
    def __init__(
        self, jobs: Sequence[TrueJob], site: Site, policy: Policy, watch: Watcher | None
    ) -> None:
        self.site, self.policy, self.watch = site, policy, watch
        self.all = [_Live(job, _first(job), job.duration_s) for job in jobs]
        self.waiting: dict[str, _Live] = {}
        self.running: dict[str, _Live] = {}
        self.ends: list[tuple[float, int, int, _Live]] = []
        self.number = 0  # breaks ties of moments
        self.errors, self.error_weight = _SIGMA**2 * _SIGMA_WEIGHT, _SIGMA_WEIGHT
        self.sigma = _SIGMA
        self.used = {job.team: 0.0 for job in jobs}
        self.used_at_s = 0.0

    def to_the_end(self) -> list[Ended]:
        """From event to event."""
        comes = sorted(range(len(self.all)), key=lambda at: (self.all[at].true.submit_s, at))
        at, again_s = 0, math.inf
        while True:
            self._drop_void()
            next_s = self.all[comes[at]].true.submit_s if at < len(comes) else math.inf
            now_s = min(next_s, self.ends[0][0] if self.ends else math.inf, again_s)
            if now_s == math.inf:
                break
            while at < len(comes) and self.all[comes[at]].true.submit_s <= now_s:
                live = self.all[comes[at]]
                self.waiting[live.true.id] = live
                at += 1
            self._age(now_s)
            while self.ends and self.ends[0][0] <= now_s:
                _, _, spell, live = heapq.heappop(self.ends)
                if live.spell == spell:
                    self._end(live, now_s)
            again_s = self._look(now_s) if self.waiting else math.inf
        return [
            Ended(one.true, one.finish_s, one.cloud_usd, one.preemptions, tuple(one.busy))
            for one in self.all
        ]

    def _drop_void(self) -> None:
        while self.ends and self.ends[0][3].spell != self.ends[0][2]:
            heapq.heappop(self.ends)

    def _look(self, now_s: float) -> float:
        state = self._state(now_s)
        decided = self.policy.decide(state)
        if self.watch is not None:
            self.watch(state, decided)
        for change in decided.changes:
            self._carry_out(change, now_s)
        if decided.look_again_s is None or not self.waiting:
            return math.inf
        return max(decided.look_again_s, now_s + _LEAST_STEP_S)

    def _state(self, now_s: float) -> State:
        teams = {name: Team(used_place_h=used) for name, used in self.used.items()}
        return State(
            now_s,
            {POOL: self.site.places},
            [self._waits(live) for live in self.waiting.values()],
            [
                Running(self._believed(live, live.attained_s + live.worked_s(now_s)), POOL)
                for live in self.running.values()
            ],
            self.site.cloud,
            teams,
        )

    def _waits(self, live: _Live) -> Job:
        """Nothing changes with who waits, but what is believed of predictions."""
        if live.believed is None or live.believed_with != self.sigma:
            live.believed = self._believed(live, live.attained_s)
            live.believed_with = self.sigma
        return live.believed

    def _believed(self, live: _Live, attained_s: float) -> Job:
        job, whole_s = live.job, live.true.predicted_s
        if whole_s is None:
            return job if attained_s == 0 else job._replace(attained_h=attained_s / 3600)
        left_h, p90_h = remaining_h(whole_s / 3600, attained_s / 3600, self.sigma)
        return Job(
            job.id, job.places, job.submitted_s, job.value_usd_per_h, left_h, p90_h, job.team,
            job.deadline_s, job.preemptible, job.setup_h, attained_s / 3600, job.promoted,
        )  # fmt: skip

    def _carry_out(self, change: Decision, now_s: float) -> None:
        if change.action is Action.START:
            live = self.waiting.pop(change.job_id)
            live.works_from_s = now_s + live.job.setup_h * 3600
            live.spell += 1
            live.job = live.job._replace(promoted=change.promoted)
            self.running[change.job_id] = live
            self.number += 1
            ends_s = live.works_from_s + live.left_s
            heapq.heappush(self.ends, (ends_s, self.number, live.spell, live))
        elif change.action is Action.YIELD:
            live = self.running.pop(change.job_id)
            self._stop(live, now_s)
            live.preemptions += 1
            live.believed = None
            live.job = live.job._replace(setup_h=self.site.restart_s / 3600)
            self.waiting[change.job_id] = live
        elif change.action is Action.BURST:
            assert self.site.cloud is not None
            live = self.waiting.pop(change.job_id)
            spans_h = live.left_s / 3600 + self.site.cloud.setup_h
            live.cloud_usd = self.site.cloud.usd_per_place_h * live.true.places * spans_h
            live.finish_s = now_s + 3600 * spans_h
        elif change.action is Action.KEEP:
            live = self.running[change.job_id]
            live.job = live.job._replace(promoted=True)

    def _stop(self, live: _Live, now_s: float) -> None:
        worked_s = live.worked_s(now_s)
        if worked_s > 0:
            live.busy.append((live.works_from_s, now_s))
        live.attained_s += worked_s
        live.left_s = max(live.left_s - worked_s, 0.0)
        live.spell += 1

    def _end(self, live: _Live, now_s: float) -> None:
        del self.running[live.true.id]
        self._stop(live, now_s)
        live.finish_s = now_s
        if live.true.predicted_s:
            error = math.log(live.true.duration_s / live.true.predicted_s)
            self.errors += error * error
            self.error_weight += 1
            self.sigma = round(math.sqrt(self.errors / self.error_weight), 2)

    def _age(self, now_s: float) -> None:
        """Each team's use until now, of which older hours count less."""
        span_s = now_s - self.used_at_s
        if span_s <= 0:
            return
        faded = 0.5 ** (span_s / _HALF_LIFE_S)
        self.used = {team: used * faded for team, used in self.used.items()}
        for live in self.running.values():
            self.used[live.true.team] += live.true.places * span_s / 3600
        self.used_at_s = now_s


def _first(job: TrueJob) -> Job:
    whole_h = None if job.predicted_s is None else job.predicted_s / 3600
    return Job(
        job.id, job.places, job.submit_s, job.value_usd_per_h, whole_h, whole_h, job.team,
        job.deadline_s, job.preemptible,
    )  # fmt: skip
