"""Who starts, waits, yields or leaves for a cloud now: the policy's word on what the ledger says.

Everybody who waits asks for himself. The same books give the same answers, so nobody leads; and
the answer is asked for once more in the transaction that starts a run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mlbroker.broker.ledger import Run, State
from mlbroker.broker.ledger.state import YIELD
from mlbroker.broker.queue.terms import USUAL_POLICY, Terms, first_place, job_of, place_name
from mlbroker.policies.queue import POLICIES
from mlbroker.policies.queue.interface import Action, Cloud, Decision, Job, Running, Team
from mlbroker.policies.queue.interface import State as Site
from mlbroker.policies.queue.placing import Room

# Between a run's start and its place being seen as taken. One that takes longer has died.
STARTING_S = 60.0
# How often those who wait look, as the policy has to know for deadlines.
TICK_H = 10 / 3600
_STARTING = frozenset({State.RESERVED, State.INTENDED, State.ARMED, State.REFUSED, State.ABSENT})
BY_HAND = "somebody put it before all others"


@dataclass(frozen=True, slots=True)
class Line:
    """What is decided of the runs at some places, by which policy, and who just starts there."""

    policy: str
    site: Site
    changes: tuple[Decision, ...]
    order: tuple[str, ...]
    starting: Mapping[str, str]

    @classmethod
    def at(
        cls,
        pools: Mapping[str, int],
        runs: Sequence[Run],
        now: datetime,
        cloud: Cloud | None = None,
        unattended: frozenset[str] = frozenset(),
    ) -> "Line":
        """Of all open runs, those at these places, of so many jobs each.

        Of those that are `unattended` nobody makes room. Policy and shares are those of who came
        last of them: by the books, so that all who ask decide alike.
        """
        waiting: list[Run] = []
        raised: list[Run] = []
        running: list[Running] = []
        starting: dict[str, str] = {}
        late = now - timedelta(seconds=STARTING_S)
        for run in runs:
            if run.state is State.QUEUED:
                stays = run.on_hold or run.stop_requested is not None
                if not stays and pools.keys() & set(Terms.of(run).places):
                    (raised if run.raised else waiting).append(run)
                continue
            place = place_of(run)
            left = run.run_id in unattended
            # Who was asked to yield is as good as gone.
            if place not in pools or (run.stop_requested == YIELD and not left):
                continue
            if run.state not in _STARTING:
                works = run.state is State.RUNNING and run.stop_requested is None
                can_yield = works and not left
                running.append(Running(job_of(run, now), place, can_yield))
            elif (run.moved_at or now) > late:
                starting[place] = run.run_id
                running.append(Running(job_of(run, now), place, can_yield=False))
        there = [run for run in runs if pools.keys() & set(Terms.of(run).places)]
        last = max(there, key=lambda run: (run.reserved_at, run.run_id), default=None)
        policy, shares = (USUAL_POLICY, {}) if last is None else _rules(Terms.of(last))
        raised.sort(key=lambda run: -run.raised)
        jobs = [job_of(run, now) for run in waiting]
        site = Site(now.timestamp(), pools, jobs, running, cloud, shares, TICK_H)
        site, by_hand, stuck = _by_hand(site, [job_of(run, now) for run in raised])
        decided = POLICIES[policy]().decide(site)
        where = {each.job.id: each.pool for each in running}
        changes = tuple(
            change._replace(pool=pool)
            for change in (*by_hand, *decided.changes)
            if (pool := change.pool or where.get(change.job_id)) not in stuck
        )
        gone = {c.job_id for c in changes if c.action in (Action.START, Action.BURST)}
        told = [*(run.run_id for run in raised), *decided.order, *(job.id for job in jobs)]
        order = tuple(dict.fromkeys(run_id for run_id in told if run_id not in gone))
        return cls(policy, site, changes, order, starting)

    def of(self, run_id: str) -> Decision | None:
        """What is decided of this run; None: it waits, or runs on."""
        return next((change for change in self.changes if change.job_id == run_id), None)

    def starts_at(self, run_id: str) -> str | None:
        """The place that the run may take now."""
        decision = self.of(run_id)
        if decision is None or decision.action is not Action.START:
            return None
        # One after the other, so that none is taken twice.
        return None if decision.pool in self.starting else decision.pool

    def who(self, action: Action) -> list[Decision]:
        """All of whom this was decided."""
        return [change for change in self.changes if change.action is action]

    def position(self, run_id: str) -> int:
        """How many wait and go before this run."""
        return self.order.index(run_id) if run_id in self.order else 0


def place_of(run: Run) -> str:
    """Where the run is, or is about to be."""
    if run.attempts and run.state is not State.QUEUED:
        last = run.attempt
        return place_name(last.cloud, last.instance_type, run.details.get("host"))
    return first_place(run)


def _rules(terms: Terms) -> tuple[str, dict[str, Team]]:
    """The policy, the usual one where this version knows no such name, and what teams have."""
    policy = terms.policy if terms.policy in POLICIES else USUAL_POLICY
    return policy, {name: Team(share=share) for name, share in terms.shares.items()}


def _by_hand(
    site: Site, raised: Sequence[Job]
) -> tuple[Site, tuple[Decision, ...], frozenset[str]]:
    """Whom somebody put first: they start where there is room, and else nobody starts there."""
    room, started, stuck = Room(site), [], set[str]()
    running, waiting = list(site.running), list(site.waiting)
    for job in raised:
        pool = room.pool_for(job)
        if pool is None:
            stuck |= set(room.may_run(job))
            waiting.append(job)
            continue
        room.take(pool, job.places)
        started.append(Decision(job.id, Action.START, BY_HAND, pool, promoted=True))
        running.append(Running(job, pool, can_yield=False))
    return site._replace(running=running, waiting=waiting), tuple(started), frozenset(stuck)
