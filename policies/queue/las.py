"""Least attained service in two classes, as Tiresias has it."""

from mlbroker.policies.queue.interface import Decisions, Job, State
from mlbroker.policies.queue.placing import preempting

# Gu et al., Tiresias (NSDI'19): 2D-LAS counts GPUs x time; one threshold, within a class FIFO.
THRESHOLD_PLACE_H = 1.0


class LeastAttained:
    """Jobs that have had less than a place-hour come before the others. Knows no prediction."""

    def decide(self, state: State) -> Decisions:
        """The young before the old, each in the order of submission."""
        decided = preempting(state, _by, "it has had less than a place-hour, or came first")
        yielded = {change.job_id for change in decided.changes}
        ages = [
            THRESHOLD_PLACE_H / each.job.places - each.job.attained_h + each.job.setup_h
            for each in state.running
            if not each.is_fixed and each.job.id not in yielded
        ]
        next_h = min((age for age in ages if age > 1e-9), default=None)
        again = None if next_h is None or not decided.order else state.now_s + next_h * 3600
        return decided._replace(look_again_s=again)


def _by(job: Job) -> tuple[float, float, str]:
    old = job.places * job.attained_h >= THRESHOLD_PLACE_H - 1e-9
    return float(old), job.submitted_s, job.id
