"""What a chooser may know of the other jobs of a table."""

from collections.abc import Sequence

import numpy as np

from mlbroker.broker.backtest.table import Table, TrueJob
from mlbroker.profiles.arrays import Array
from mlbroker.profiles.transfer.fit import fit
from mlbroker.profiles.transfer.history import Completed, PastJob, Prior, complete, prior
from mlbroker.profiles.transfer.kernel import Hyper


class Library:
    """All jobs of a table, completed once; lends what is past for each of them.

    Jobs are kept as long as the table gives them: how long the job at hand is, nobody is told.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._past = [job.as_history() for job in table.jobs]
        self._completed = complete(table.space, self._past, Hyper())
        self._lent: dict[str, Past] = {}

    def for_job(self, job: TrueJob, with_history: bool) -> "Past":
        """The jobs of other families, or none."""
        key = job.family if with_history else ""
        if key not in self._lent:
            places = [
                place
                for place, other in enumerate(self._past)
                if with_history and other.family != job.family
            ]
            self._lent[key] = Past(
                self._table,
                [self._table.jobs[place] for place in places],
                [self._past[place] for place in places],
                [self._completed[place] for place in places],
            )
        return self._lent[key]


class Past:
    """Past jobs, and what was learnt from them."""

    def __init__(
        self,
        table: Table,
        jobs: Sequence[TrueJob],
        past: Sequence[PastJob],
        completed: Sequence[Completed],
    ) -> None:
        self._size = len(table.configs)
        self._space = table.space
        self._jobs = jobs
        self._past = past
        self._completed = completed
        self._hyper: Hyper | None = None

    @property
    def hyper(self) -> Hyper:
        """Hyperparameters, fitted to these jobs at the first call."""
        if self._hyper is None:
            self._hyper = fit(self._space, self._past, self._completed)
            if not self._past:
                self._hyper = self._hyper.widened()
        return self._hyper

    def prior(self, candidates: Array) -> Prior:
        """What is believed of a new job on these configurations."""
        return prior(self._space, candidates, self._past, self._completed)

    def runs(self) -> Array:
        """How many past jobs ran on each configuration."""
        counts = np.zeros(self._size)
        for job in self._jobs:
            counts[job.rows] += 1
        return counts

    def mean_pace(self) -> Array:
        """Mean over past jobs of time over the job's shortest; NaN where most never ran."""
        return self._mean([(job, job.time_s) for job in self._jobs])

    def mean_cost_ratio(self) -> Array:
        """Mean over past jobs of cost over the job's least; NaN where most never ran."""
        return self._mean([(job, job.time_s * job.price_per_hour_usd) for job in self._jobs])

    def _mean(self, values: Sequence[tuple[TrueJob, Array]]) -> Array:
        total, count = np.zeros(self._size), np.zeros(self._size)
        for job, value in values:
            ratio = value / value[job.worked].min()
            # A failure is as bad as the worst that worked.
            total[job.rows] += np.where(job.worked, ratio, ratio[job.worked].max())
            count[job.rows] += 1
        enough = count >= max(1.0, 0.5 * float(count.max(initial=0.0)))
        return np.where(enough, total / np.maximum(count, 1), np.nan)
