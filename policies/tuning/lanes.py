"""How many lanes a study gets: as few as are done by the deadline, as each learns of the others."""

import math
from typing import NamedTuple

from mlbroker.policies.tuning.auto import LONG, SHORT
from mlbroker.policies.tuning.interface import rungs
from mlbroker.policies.tuning.sha_pause import ETA

# Of the time to the deadline; the rest is for trials that take longer than the mean.
USABLE = 0.85


class Work(NamedTuple):
    """What is to be done: `trials` of at most `most` steps, None where nobody set a number.

    `step_s` is seconds a step, None where none was measured. `begin_s`: from a lane's reservation
    to its first trial. `done_steps` are behind it.
    """

    trials: int | None
    most: int
    step_s: float | None
    begin_s: float = 0.0
    done_steps: int = 0

    @property
    def steps(self) -> float | None:
        """That are left, in the mean of both graces; None: as many as the money pays for."""
        if self.trials is None:
            return None
        each = sum(steps_a_trial(grace, self.most) for grace in (SHORT, LONG)) / 2
        # Whichever the numbers say, the best is finished.
        return max(self.trials * each + self.most - self.done_steps, 0.0)


def steps_a_trial(grace: int, most: int) -> float:
    """Σ (r_j - r_{j-1})·η^{-j}: what a trial comes to, as one in η goes on from each rung."""
    found, before = 0.0, 0
    for number, rung in enumerate(rungs(min(grace, most), ETA, most)):
        found += (rung - before) / ETA**number
        before = rung
    return found


def lanes(work: Work, deadline_s: float | None, paid_s: float, room: int) -> int:
    """Lanes by the rule ⌈(n·w + starts) / (.85·D - whole trial)⌉, one at least.

    `paid_s` are seconds of one lane that the budget pays for, `room` how many there may be at
    most. Without a deadline, or where nobody knows how long a step takes, as many as there is room
    for. Each can pay for a whole trial, where that is known.
    """
    whole_s = None if work.step_s is None else work.most * work.step_s
    if whole_s is not None:
        room = min(room, int(paid_s / (whole_s + work.begin_s))) if whole_s > 0 else room
    room = max(room, 1)
    if deadline_s is None:
        return room
    usable_s = USABLE * deadline_s - (whole_s or 0.0)
    steps = work.steps
    if steps is None or work.step_s is None:
        # The money is spent by the deadline.
        needed_s = paid_s if steps is None else None
    else:
        needed_s = min(steps * work.step_s + work.begin_s, paid_s)
    if needed_s is None or usable_s <= 0:
        return room
    return min(max(math.ceil(needed_s / usable_s), 1), room)
