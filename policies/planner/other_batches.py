"""The batches that a job is planned with on each machine, beside its own."""

import math
from collections.abc import Mapping, Sequence

from mlbroker.policies.constraints import Constraints
from mlbroker.policies.outcome import normal_quantile
from mlbroker.policies.pace import Pace
from mlbroker.policies.planner.plan import WholeAt
from mlbroker.profiles.batch import BatchAt
from mlbroker.profiles.batch_steps import BatchSteps
from mlbroker.profiles.batch_worth import worths
from mlbroker.profiles.estimators.measured import MAX_SIGMA
from mlbroker.profiles.job import Job
from mlbroker.profiles.prediction import Prediction, Target

# A larger batch can cost quality: none for less than a twentieth of the time.
_ENOUGH = 0.95


class OtherBatches:
    """Of one plan. A step at another batch stands for `gain` steps of the job's own: its time over
    its gain is that of one of them, so work, deadline and money count as they do without.
    """

    def __init__(self, job: Job, constraints: Constraints, steps: BatchSteps) -> None:
        assert job.batch is not None  # who asks has seen to it
        assert steps.seen.noise is not None
        self._constraints, self._steps = constraints, steps
        self._worths = {
            worth.at.size: worth for worth in worths(job.batch, job.num_nodes, steps.seen)
        }
        self._own = job.batch.size
        self._quantile = normal_quantile(constraints.confidence)

    @property
    def own(self) -> BatchAt:
        """The job's own batch."""
        return self._worths[self._own].at

    def predicted(
        self, targets: Sequence[Target], paces: Sequence[Pace | None]
    ) -> list[dict[int, Prediction]]:
        """By batch, how long work takes as a step at the job's own batch does; its own too."""
        own = [None if pace is None else pace.prediction for pace in paces]
        return [
            {size: self._worked(size, step) for size, step in found.items()}
            for found in self._steps.at(list(self._worths), targets, own)
        ]

    def worthwhile(self, predicted: Mapping[int, Prediction]) -> list[BatchAt]:
        """The batches that do the work in enough less time than the job's own, which counts anyway,
        and of which no other is better both on average and with the confidence asked for; last
        what is sure soonest.

        Cost, time and emissions on a machine follow these two.
        """
        figures = {size: self._figures(step) for size, step in predicted.items()}
        mean_s, sure_s = (_ENOUGH * figure for figure in figures.pop(self._own))
        found: list[BatchAt] = []
        least = math.inf
        for size, (mean, sure) in sorted(figures.items(), key=lambda item: item[1]):
            if sure < least and (mean < mean_s or sure < sure_s):
                least = sure
                found.append(self._worths[size].at)
        return found

    def courses(self, target: Target, pace: Pace) -> tuple[WholeAt, ...]:
        """How long a step and the whole work take at each batch on one machine, smallest first."""
        assert pace.prediction is not None  # of what nobody knows there is no choice of a batch
        [steps] = self._steps.at(list(self._worths), [target], [pace.prediction])
        work = self._constraints.steps
        return tuple(
            WholeAt(
                self._worths[size].at,
                step.median_step_time_s,
                pace.setup_s + step.overhead_s
                + work * self._worked(size, step).median_step_time_s,
                step.basis,
            )
            for size, step in sorted(steps.items())
        )  # fmt: skip

    def _figures(self, step: Prediction) -> tuple[float, float]:
        """Of a step: its mean, and what it does not exceed with the confidence asked for."""
        median_s, sigma = step.median_step_time_s, step.sigma_log
        return median_s * math.exp(sigma**2 / 2), median_s * math.exp(sigma * self._quantile)

    def _worked(self, size: int, step: Prediction) -> Prediction:
        if size == self._own:
            return step
        worth = self._worths[size]
        return step._replace(
            median_step_time_s=step.median_step_time_s / worth.gain,
            sigma_log=min(math.hypot(step.sigma_log, worth.sigma_log), MAX_SIGMA),
        )
