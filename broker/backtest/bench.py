"""The rules of the game: what a chooser may see, what a probe costs, what a choice is worth."""

from dataclasses import dataclass

import numpy as np

from mlbroker.broker.backtest.table import TrueJob
from mlbroker.profiles.arrays import Array
from mlbroker.profiles.value_of_information import PROBE_MIN_S, PROBE_SHARE


class Bench:
    """One job's configurations, whose times can be seen only by paying for a probe.

    Choosers get this object: prices and the deadline are public, times are not.
    """

    def __init__(self, job: TrueJob, setup_s: float, deadline_s: float | None) -> None:
        self.rows = job.rows
        self.price_per_hour_usd = job.price_per_hour_usd
        self.setup_s = setup_s
        self.deadline_s = deadline_s
        self.probed: list[int] = []
        self.spent_usd = 0.0
        self.__time_s = job.time_s
        self.__worked = job.worked

    def __len__(self) -> int:
        return len(self.rows)

    def probe(self, candidate: int) -> float | None:
        """Pay for a probe: the run's time in seconds, None if the job fails there."""
        work_s = float(self.__time_s[candidate])
        span_s = self.setup_s + max(PROBE_MIN_S, PROBE_SHARE * work_s)
        self.spent_usd += float(self.price_per_hour_usd[candidate]) * span_s / 3600
        self.probed.append(candidate)
        return work_s if self.__worked[candidate] else None


@dataclass(frozen=True, slots=True)
class Score:
    """What a choice was worth. Places are of the job's candidates; ratios are to the best one."""

    best: int
    cost_ratio: float
    all_in_ratio: float
    deadline_met: bool


def deadline_s(job: TrueJob, factor: float | None, setup_s: float) -> float | None:
    """`factor` times the fastest run, set-up included; None for none."""
    if factor is None:
        return None
    return factor * (setup_s + float(job.time_s[job.worked].min()))


def score(job: TrueJob, bench: Bench, chosen: int | None) -> Score:
    """Hold the choice against the cheapest configuration that meets the deadline.

    Where none does, against the fastest. No choice, or one on which the job fails, counts as the
    dearest configuration that works, and as a miss.
    """
    run_s = bench.setup_s + job.time_s
    cost = job.price_per_hour_usd * run_s / 3600
    limit = np.inf if bench.deadline_s is None else bench.deadline_s
    in_time: Array = job.worked & (run_s <= limit)
    if in_time.any():
        best = int(np.where(in_time, cost, np.inf).argmin())
    else:
        best = int(np.where(job.worked, run_s, np.inf).argmin())
    if chosen is None or not job.worked[chosen]:
        paid, met = float(cost[job.worked].max()), False
    else:
        paid, met = float(cost[chosen]), bool(in_time[chosen])
    least = float(cost[best])
    return Score(best, paid / least, (bench.spent_usd + paid) / least, met)
