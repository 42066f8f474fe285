"""The queue by what waiting costs, with a promise for deadlines and the cloud as a way out."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from mlbroker.policies.queue.interface import (
    Action,
    Cloud,
    Decision,
    Decisions,
    Job,
    Running,
    State,
    believed_h,
    cautious_h,
    hopeful_h,
    opportunity_usd_per_place_h,
)
from mlbroker.policies.queue.placing import Outlook, Room, start

# A job that runs is worth so much more than its index, or two like ones would take turns.
STICKS = 1.5
# By how many standard deviations a job may exceed its prediction and still be in time. Promoting
# early costs others in proportion to the job: who delays all of them by little gets a wide margin.
_Z90, LARGE_Z, SMALL_Z = 1.2816, 1.1, 2.33
SMALL_H = 0.05
# What is of no value to anybody still has an order: by its size.
_LEAST_USD_PER_H = 1e-6


def index_usd_per_place_h2(job: Job) -> float:
    """What waiting costs, by the place-hours that end it: Smith's rule, with gangs.

    Smith, Various optimizers for single-stage production (1956).
    """
    return max(job.value_usd_per_h, _LEAST_USD_PER_H) / job.area_h


def last_safe_s(job: Job, state: State) -> float | None:
    """The last moment at which a start meets the deadline, nearly for sure, here or in the cloud.

    None without a deadline.
    """
    if job.deadline_s is None:
        return None
    median_h = believed_h(job)
    small = job.places * median_h < SMALL_H * state.places
    z = SMALL_Z if small else LARGE_Z
    safe_h = median_h * math.pow(cautious_h(job) / median_h, z / _Z90)
    # Until then both ways must be open: there may be no places to be had here.
    setup_h = max(job.setup_h, state.cloud.setup_h if state.cloud else 0.0)
    return job.deadline_s - 3600 * (safe_h + setup_h + state.tick_h)


class Auto:
    """The index v/(g r); see docs/queue.md for the whole rule."""

    def decide(self, state: State) -> Decisions:
        """Deadlines that can wait no longer, then by the index, then what should be rented."""
        turn = _Turn(state)
        turn.keep_promises()
        turn.by_index()
        turn.rent()
        return turn.decided()


class _Victim(NamedTuple):
    worth: float
    running: Running


class _Turn:
    def __init__(self, state: State) -> None:
        self.state = state
        self.room = Room(state)
        self.changes: list[Decision] = []
        self.usd_per_place_h = opportunity_usd_per_place_h(state)
        self.budgets = {name: team.cloud_usd_left for name, team in state.teams.items()}
        shares = {name: team.share for name, team in state.teams.items()}
        self.shares = {n: share * state.places for n, share in shares.items() if share is not None}
        self.used: dict[str, int] = {}
        self.victims: list[_Victim] = []
        for each in state.running:
            job = each.job
            self.used[job.team] = self.used.get(job.team, 0) + job.places
            if each.is_fixed:
                continue
            safe_s = last_safe_s(job, state)
            if (
                safe_s is not None
                and safe_s <= state.now_s
                and _may_make_it(job, state, 0.0, hopeful_h(job))
            ):
                reason = "its deadline leaves no time to wait again"
                self.changes.append(Decision(job.id, Action.KEEP, reason, each.pool, promoted=True))
                continue
            self.victims.append(_Victim(index_usd_per_place_h2(job), each))
        self.victims.sort(key=lambda victim: (victim.worth, victim.running.job.id))
        self.waiting = sorted(
            ((index_usd_per_place_h2(job), job) for job in state.waiting),
            key=lambda pair: (-pair[0], pair[1].submitted_s, pair[1].id),
        )
        self.gone: set[str] = set()

    # -- deadlines ---------------------------------------------------------------------------

    def keep_promises(self) -> None:
        """Jobs at their last safe moment get places that nobody takes again, or go to the cloud."""
        state = self.state
        due = [
            (safe_s, job)
            for _, job in self.waiting
            if (safe_s := last_safe_s(job, state)) is not None and safe_s <= state.now_s
        ]
        for _, job in sorted(due, key=lambda pair: (pair[0], pair[1].id)):
            cloud = state.cloud
            usd_here = self.usd_per_place_h * job.places * believed_h(job)
            in_cloud = (
                cloud is not None
                and self._may_pay(job, cloud)
                and _may_make_it(job, state, cloud.setup_h, believed_h(job))
            )
            here = _may_make_it(job, state, job.setup_h, hopeful_h(job))
            usd_cloud = cloud.cost_usd(job) if cloud else 0.0
            if here and not (in_cloud and usd_cloud <= usd_here):
                pool = self._make_room(job, None)
                if pool is not None:
                    self._start(job, pool, "its deadline leaves no time to wait", promoted=True)
                    continue
            if in_cloud:
                assert cloud is not None
                self._burst(job, cloud, "its deadline leaves no time to wait")

    # -- order -------------------------------------------------------------------------------

    def by_index(self) -> None:
        """Who waits dearest by what it takes; others at a checkpoint yield where that pays."""
        passed = []
        for index, job in self._fair(self.waiting):
            if job.id in self.gone:
                continue
            pool = self.room.pool_for(job)
            if pool is None and self.victims and self._may_take_any(index):
                pool = self._make_room(job, index)
            if pool is None:
                passed.append(job)
            else:
                self._start_by_index(job, pool)
        if any(change.action is Action.YIELD for change in self.changes):
            for job in passed:  # a gang that yielded may have left more than was taken
                pool = self.room.pool_for(job)
                if pool is not None:
                    self._start_by_index(job, pool)

    def _start_by_index(self, job: Job, pool: str) -> None:
        self._start(job, pool, f"waiting costs {_usd(job.value_usd_per_h)}/h")

    def _fair(self, waiting: Sequence[tuple[float, Job]]) -> Sequence[tuple[float, Job]]:
        """Those whose team has more than its share come after all others."""
        if not self.shares:
            return waiting
        used = dict(self.used)
        within, over = [], []
        for index, job in waiting:
            if self._over(job.team, used.get(job.team, 0) + job.places):
                over.append((index, job))
            else:
                used[job.team] = used.get(job.team, 0) + job.places
                within.append((index, job))
        return [*within, *over]

    def _over(self, team: str, places: int) -> bool:
        """Whether so many are more than the team's share; one without a share has no bound."""
        share = self.shares.get(team)
        return share is not None and places > share + 1e-9

    def _may_take_any(self, index: float) -> bool:
        return bool(self.shares) or index > STICKS * self.victims[0].worth

    def _may_take(self, job: Job, index: float | None, victim: _Victim) -> bool:
        """Whether it comes before one that runs: by shares, and among equals by the index."""
        if index is None:
            return True
        theirs = victim.running.job.team
        if self.shares and job.team != theirs:
            ours_over = self._over(job.team, self.used.get(job.team, 0) + job.places)
            theirs_over = self._over(theirs, self.used.get(theirs, 0))
            if ours_over != theirs_over:
                return theirs_over
        return index > STICKS * victim.worth

    def _make_room(self, job: Job, index: float | None) -> str | None:
        """A pool where the gang fits once those of less worth have yielded; None: none.

        Without an index the gang is promised its places, whatever that costs others.
        """
        pool = self.room.pool_for(job)
        if pool is not None:
            return pool
        best: tuple[float, str, list[_Victim]] | None = None
        for name in self.room.may_run(job):
            chosen = self._cheapest(job, index, name)
            if chosen is None:
                continue
            loss = sum(_per_h(victim.running.job) for victim in chosen)
            owed = any(index is not None and index <= STICKS * v.worth for v in chosen)
            if index is not None and not owed and _per_h(job) <= loss:
                continue
            if best is None or (loss, name) < best[:2]:
                best = loss, name, chosen
        if best is None:
            return None
        for victim in best[2]:
            self._yield(victim, job)
        return best[1]

    def _cheapest(self, job: Job, index: float | None, pool: str) -> list[_Victim] | None:
        """Those of the least index that make room, none of them in vain."""
        lacking = job.places - self.room.free[pool]
        chosen: list[_Victim] = []
        for victim in self.victims:
            if not self._may_take(job, index, victim):
                if self.shares:
                    continue
                break
            if victim.running.pool == pool:
                chosen.append(victim)
                lacking -= victim.running.job.places
                if lacking <= 0:
                    break
        if lacking > 0:
            return None
        for victim in reversed(chosen[:-1]):
            if lacking + victim.running.job.places <= 0:
                lacking += victim.running.job.places
                chosen.remove(victim)
        return chosen

    # -- the cloud ---------------------------------------------------------------------------

    def rent(self) -> None:
        """Jobs whose waiting, and that of those behind them, costs more than the cloud."""
        cloud = self.state.cloud
        if cloud is None:
            return
        left = [(index, job) for index, job in self.waiting if job.id not in self.gone]
        if not left:
            return
        places = max(self.state.places, 1)
        behind_usd_per_h = sum(job.value_usd_per_h for _, job in left)
        will_run = self._will_run()
        ahead_place_h = sum(each.job.area_h for each in will_run)
        bearable: list[float] = []  # the wait from which on the cloud is worth its price
        last = -1
        for number, (_, job) in enumerate(left):
            behind_usd_per_h -= job.value_usd_per_h
            usd = cloud.cost_usd(job) - behind_usd_per_h * job.area_h / places
            bearable.append(usd / max(job.value_usd_per_h, _LEAST_USD_PER_H) + cloud.setup_h)
            # Nobody waits longer than until all that is ahead is done on what the gang leaves.
            longest_h = ahead_place_h / max(places - job.places + 1, 1)
            if bearable[-1] < longest_h or not self.room.may_run(job):
                last = number
            ahead_place_h += job.area_h
        if last < 0:
            return
        outlook = Outlook(self.state._replace(running=will_run))
        for (_, job), most_h in zip(left[: last + 1], bearable, strict=False):
            wait_h = outlook.wait_h(job)
            if (wait_h is None or wait_h > most_h) and self._may_pay(job, cloud):
                fits = wait_h is not None
                why = "waiting would cost more" if fits else "the gang is larger than the site"
                self._burst(job, cloud, why)
            else:
                outlook.put(job)

    def _will_run(self) -> list[Running]:
        """Who has places once all that was decided so far is done."""
        yields = {c.job_id for c in self.changes if c.action is Action.YIELD}
        pools = {c.job_id: c.pool for c in self.changes if c.action is Action.START}
        return [
            *(each for each in self.state.running if each.job.id not in yields),
            *(Running(job, pool) for job in self.state.waiting if (pool := pools.get(job.id))),
        ]

    def _may_pay(self, job: Job, cloud: Cloud) -> bool:
        left_usd = self.budgets.get(job.team)
        return left_usd is None or cloud.cost_usd(job) <= left_usd

    # -- what was decided --------------------------------------------------------------------

    def _start(self, job: Job, pool: str, reason: str, promoted: bool = False) -> None:
        self.room.take(pool, job.places)
        self.gone.add(job.id)
        self.used[job.team] = self.used.get(job.team, 0) + job.places
        self.changes.append(start(job, pool, reason, promoted))

    def _yield(self, victim: _Victim, to: Job) -> None:
        self.victims.remove(victim)
        job = victim.running.job
        self.room.take(victim.running.pool, -job.places)
        self.used[job.team] -= job.places
        reason = f"{to.id} comes before it: waiting costs that {_usd(to.value_usd_per_h)}/h"
        self.changes.append(Decision(job.id, Action.YIELD, reason))

    def _burst(self, job: Job, cloud: Cloud, reason: str) -> None:
        cost_usd = cloud.cost_usd(job)
        left_usd = self.budgets.get(job.team)
        if left_usd is not None:
            self.budgets[job.team] = left_usd - cost_usd
        self.gone.add(job.id)
        why = f"{reason}; the cloud costs about {_usd(cost_usd)}"
        self.changes.append(Decision(job.id, Action.BURST, why))

    def decided(self) -> Decisions:
        """Who yields first, then the others; and when the next deadline can wait no longer."""
        first = [change for change in self.changes if change.action is Action.YIELD]
        rest = [change for change in self.changes if change.action is not Action.YIELD]
        left = [job for _, job in self.waiting if job.id not in self.gone]
        safe = (last_safe_s(job, self.state) for job in left)
        again = [at for at in safe if at is not None and at > self.state.now_s]
        return Decisions((*first, *rest), tuple(job.id for job in left), min(again, default=None))


def _per_h(job: Job) -> float:
    """The index of the whole gang: what its places earn, USD an hour an hour."""
    return max(job.value_usd_per_h, _LEAST_USD_PER_H) / believed_h(job)


def _may_make_it(job: Job, state: State, setup_h: float, hours: float) -> bool:
    """Whether the deadline is met, from now, with so much work left."""
    assert job.deadline_s is not None
    return state.now_s + 3600 * (setup_h + hours) <= job.deadline_s


def _usd(amount: float) -> str:
    return f"{amount:.2f} USD"
