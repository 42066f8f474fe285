"""What a chooser may know of the other jobs of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mlbroker.broker.backtest.table import Table, TrueJob
from mlbroker.pricing.offer import Hardware
from mlbroker.profiles.arrays import Array
from mlbroker.profiles.estimators.archetypes import believed
from mlbroker.profiles.transfer.fit import fit
from mlbroker.profiles.transfer.history import Completed, PastJob, Prior, complete, enough
from mlbroker.profiles.transfer.kernel import Hyper
from mlbroker.profiles.transfer.space import Space


class Library:
    """All jobs of a table, completed once; lends what is past for each of them.

    Jobs are kept as long as the table gives them: how long the job at hand is, nobody is told.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        past = [job.as_history() for job in table.jobs]
        completed = complete(table.space, past, Hyper())
        self._all = list(zip(table.jobs, past, completed, strict=True))
        self._lent: dict[str, Past] = {}

    def for_job(self, job: TrueJob, with_history: bool) -> "Past":
        """The jobs of other families, or none."""
        key = job.family if with_history else ""
        if key not in self._lent:
            others = [each for each in self._all if with_history and each[0].family != job.family]
            self._lent[key] = Past(
                len(self._table.configs),
                self._table.space,
                self._table.hardware,
                self._table.nodes,
                [true for true, _, _ in others],
                [past for _, past, _ in others],
                [completed for _, _, completed in others],
            )
        return self._lent[key]


@dataclass(frozen=True)
class Past:
    """Past jobs, and what was learnt from them. `size` is the number of configurations."""

    size: int
    space: Space
    hardware: Sequence[Hardware | None]
    nodes: Sequence[int]
    jobs: Sequence[TrueJob]
    past: Sequence[PastJob]
    completed: Sequence[Completed]

    @cached_property
    def hyper(self) -> Hyper:
        """Hyperparameters, fitted to these jobs at the first call."""
        fitted = fit(self.space, self.past, self.completed)
        return fitted if enough(self.past) else fitted.widened()

    def prior(self, candidates: Array) -> Prior:
        """What is believed of a new job on these configurations."""
        return believed(
            self.space, self.hardware, self.nodes, candidates, self.past, self.completed
        )

    def runs(self) -> Array:
        """How many past jobs ran on each configuration."""
        counts = np.zeros(self.size)
        for job in self.jobs:
            counts[job.rows] += 1
        return counts

    def mean_pace(self) -> Array:
        """Mean over past jobs of time over the job's shortest; NaN where most never ran."""
        return self._mean([(job, job.time_s) for job in self.jobs])

    def mean_cost_ratio(self) -> Array:
        """Mean over past jobs of cost over the job's least; NaN where most never ran."""
        return self._mean([(job, job.time_s * job.price_per_hour_usd) for job in self.jobs])

    def _mean(self, values: Sequence[tuple[TrueJob, Array]]) -> Array:
        total, count = np.zeros(self.size), np.zeros(self.size)
        for job, value in values:
            ratio = value / value[job.worked].min()
            # A failure is as bad as the worst that worked.
            total[job.rows] += np.where(job.worked, ratio, ratio[job.worked].max())
            count[job.rows] += 1
        enough = count >= max(1.0, 0.5 * float(count.max(initial=0.0)))
        return np.where(enough, total / np.maximum(count, 1), np.nan)
