"""What most clusters run: priority of age and fair share, with backfill."""

import math

from mlbroker.policies.queue.interface import Decisions, Job, State
from mlbroker.policies.queue.placing import backfilled

# Slurm's multifactor plugin (slurm.schedmd.com/priority_multifactor.html): its example weighs fair
# shares ten times age and size; PriorityMaxAge is 7 days by default.
AGE_WEIGHT = 1_000
FAIR_SHARE_WEIGHT = 10_000
SIZE_WEIGHT = 1_000
_MOST_AGE_S = 7 * 86_400


class MultifactorEasy:
    """Who waits long, whose team used little, and large gangs come first."""

    def decide(self, state: State) -> Decisions:
        """In the order of priority."""
        used = sum(team.used_place_h for team in state.teams.values())
        even = 1 / max(len(state.teams), 1)
        fair = {
            name: math.exp2(-(team.used_place_h / used if used else 0.0) / (team.share or even))
            for name, team in state.teams.items()
        }
        places = max(state.places, 1)

        def priority(job: Job) -> float:
            age = min((state.now_s - job.submitted_s) / _MOST_AGE_S, 1.0)
            return (
                AGE_WEIGHT * age
                + FAIR_SHARE_WEIGHT * fair.get(job.team, 1.0)
                + SIZE_WEIGHT * job.places / places
            )

        order = sorted(state.waiting, key=lambda job: (-priority(job), job.submitted_s, job.id))
        return backfilled(state, order, "it has the highest priority")
