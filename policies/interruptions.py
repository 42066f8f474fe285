"""How often a spot machine is taken away, and what each time costs.

AWS publishes, for each type and region, the share of spot machines interrupted within a month
(Spot Advisor bands). Machines live hours to days, so the share is read as the chance within one
day: a band of 5 to 10 % becomes about 0.3 % an hour. Nobody publishes it for the other clouds:
there the hazard is a cautious guess, higher for GPUs, in line with recorded V100 availability
traces (about .2 an hour over a machine's first twelve hours).
"""

import math

from mlbroker.policies.outcome import Outcome
from mlbroker.profiles.job import Checkpoint

MACHINE_LIFE_H = 24.0
UNKNOWN_CPU_PER_HOUR = 0.05
UNKNOWN_GPU_PER_HOUR = 0.2
# Above these an interrupted run is a gamble: more likely than not to start all over again, or
# losing more than half of its time.
MOST_RESTARTS_WITHOUT_CHECKPOINT = math.log(2)
MOST_LOST_SHARE = 0.5


def interruptions_per_s(rate: float | None, has_gpu: bool) -> float:
    """Hazard of one machine per second from the published monthly share (0 to 1) or its lack."""
    if rate is None:
        per_hour = UNKNOWN_GPU_PER_HOUR if has_gpu else UNKNOWN_CPU_PER_HOUR
    else:
        per_hour = -math.log1p(-min(rate, 0.99)) / MACHINE_LIFE_H
    return per_hour / 3600


def loss_s(checkpoint: Checkpoint | None, setup_s: float, work_mean_s: float) -> float:
    """Seconds that one interruption costs: a new set-up, and the work since the last save."""
    return setup_s + (work_mean_s if checkpoint is None else checkpoint.every_s) / 2


def too_often(checkpoint: Checkpoint | None, outcome: Outcome) -> str | None:
    """Why a spot machine is hopeless for the run, in words, or None."""
    per_s = outcome.interruptions_per_s
    if checkpoint is None and per_s * outcome.undisturbed_s > MOST_RESTARTS_WITHOUT_CHECKPOINT:
        times = per_s * outcome.undisturbed_s
        return f"{times:.1f} interruptions expected and no checkpoint to resume from"
    if per_s * outcome.loss_s > MOST_LOST_SHARE:
        return f"{per_s * 3600:.2g} interruptions an hour lose more than half of the time"
    return None
