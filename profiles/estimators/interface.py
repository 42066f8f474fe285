"""What an estimator is: a module with these two functions."""

from collections.abc import Hashable, Sequence
from typing import Protocol

from mlbroker.profiles.job import Job
from mlbroker.profiles.prediction import Evidence, Prediction, Target


class Estimator(Protocol):
    """Predicts step times from what is known of the job."""

    def estimate(
        self, evidence: Evidence, targets: Sequence[Target]
    ) -> Sequence[Prediction | None]:
        """One entry per target, in their order; None for a target it knows nothing about.

        A job that was never measured gets equal guesses for equal hardware of one cloud.
        """
        ...

    def guess_key(self, job: Job) -> Hashable:
        """All that guesses depend on of a job that was never measured.

        Two jobs with equal keys get equal guesses: what was worked out for one serves the other.
        """
        ...
