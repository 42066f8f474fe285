"""A hybrid cloud's queue: each job waits for a while, and then it goes to the cloud."""

from mlbroker.policies.queue.interface import Action, Decision, Decisions, State
from mlbroker.policies.queue.placing import Room, start

# Luo et al., Starburst (USENIX ATC'24): the wait grows with what the job would cost in the cloud.
# How fast is a site's own choice; this is ours.
WAIT_H_PER_PLACE_H = 0.25


class Starburst:
    """The longer and wider a job, the longer it may wait; whoever fits starts."""

    def decide(self, state: State) -> Decisions:
        """In the order of submission, passing those that do not fit."""
        room = Room(state)
        changes: list[Decision] = []
        waits: list[str] = []
        again: float | None = None
        for job in sorted(state.waiting, key=lambda job: (job.submitted_s, job.id)):
            pool = room.pool_for(job)
            if pool is not None:
                room.take(pool, job.places)
                changes.append(start(job, pool, "places are free"))
                continue
            until_s = job.submitted_s + 3600 * WAIT_H_PER_PLACE_H * job.area_h
            if state.cloud is not None and until_s <= state.now_s:
                changes.append(Decision(job.id, Action.BURST, "it has waited its share"))
                continue
            waits.append(job.id)
            if state.cloud is not None:
                again = until_s if again is None else min(again, until_s)
        return Decisions(tuple(changes), tuple(waits), again)
