"""When each waiting job is likely to start: the policy's order, put behind what runs."""

from typing import NamedTuple

from mlbroker.policies.queue.interface import (
    Action,
    Job,
    Policy,
    Running,
    State,
    believed_h,
    opportunity_usd_per_place_h,
)
from mlbroker.policies.queue.placing import Outlook


class Forecast(NamedTuple):
    """Of one job that waits. `position` counts from 1, 0 where it starts or goes now.

    `start_p50_s` and `start_p90_s` are moments, if all others take their median or their 90th
    percentile and nobody else comes; None where its gang fits nowhere. `captures_usd` is what
    its work on own places costs those who wait, `cloud_usd` what it costs in the cloud.
    """

    job_id: str
    position: int
    start_p50_s: float | None
    start_p90_s: float | None
    captures_usd: float
    cloud_usd: float | None
    action: Action
    reason: str


def forecast(policy: Policy, state: State) -> tuple[Forecast, ...]:
    """Every waiting job's, those that start now first."""
    decided = policy.decide(state)
    waiting = {job.id: job for job in state.waiting}
    changes = {change.job_id: change for change in decided.changes}
    running = [
        each
        for each in state.running
        if each.job.id not in changes or changes[each.job.id].action is not Action.YIELD
    ]
    started = [
        Running(waiting[change.job_id], change.pool)
        for change in decided.changes
        if change.action is Action.START and change.pool is not None
    ]
    after = state._replace(running=[*running, *started])
    likely, late = Outlook(after), Outlook(after, cautious=True)
    usd_per_h = opportunity_usd_per_place_h(state)

    def told(job: Job, position: int, action: Action, reason: str) -> Forecast:
        now = action is not Action.WAIT
        starts = (0.0, 0.0) if now else (likely.put(job), late.put(job))
        p50_s, p90_s = (None if at is None else state.now_s + 3600 * at for at in starts)
        others_usd_per_h = usd_per_h - job.value_usd_per_h / max(state.places, 1)
        captures_usd = max(others_usd_per_h, 0.0) * job.places * believed_h(job)
        cloud_usd = None if state.cloud is None else state.cloud.cost_usd(job)
        return Forecast(job.id, position, p50_s, p90_s, captures_usd, cloud_usd, action, reason)

    found = [
        told(waiting[change.job_id], 0, change.action, change.reason)
        for change in decided.changes
        if change.job_id in waiting
    ]
    for number, name in enumerate(decided.order, 1):
        job = waiting[name]
        found.append(told(job, number, Action.WAIT, _why(job, number, decided.order[0], state)))
    return tuple(found)


def _why(job: Job, number: int, first: str, state: State) -> str:
    allowed = state.pools if job.pools is None else job.pools & state.pools.keys()
    if not any(state.pools[pool] >= job.places for pool in allowed):
        return "its gang fits in no pool, even when all is free"
    if number == 1:
        return "it is the next; too few places are free for it"
    before = f"{number - 1} jobs come" if number > 2 else f"{first} comes"
    return f"{before} before it"
