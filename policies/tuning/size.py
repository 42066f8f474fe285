"""What a study comes to, from what one whole trial costs."""

from decimal import Decimal
from typing import NamedTuple, Self

from mlbroker.policies.tuning.lanes import Work
from mlbroker.profiles.search_space import Study


class StudySize(NamedTuple):
    """How much work a study is, and what it may cost.

    `whole_trials` is the work of all `trials` in whole ones, as most are paused early; None: as
    many as the money pays for. `cap_usd` is the budget of the study, None where none is stated.
    """

    trials: int | None
    whole_trials: float | None
    cap_usd: Decimal | None

    @classmethod
    def of(cls, study: Study, cap_usd: Decimal | None) -> Self:
        """By the rungs of `auto`: a trial's mean work at each grace, and the best one whole."""
        steps = Work(study.trials, study.most, step_s=None).steps
        return cls(study.trials, None if steps is None else steps / study.most, cap_usd)

    def expected_usd(self, trial_usd: Decimal | None) -> Decimal | None:
        """Of all trials, where a whole one costs `trial_usd`; never more than the cap.

        None where it is unknown: nobody knows what a trial costs, or how many there will be.
        """
        if trial_usd is None or self.whole_trials is None:
            return None if trial_usd is None else self.cap_usd
        all_usd = trial_usd * Decimal(repr(self.whole_trials))
        return all_usd if self.cap_usd is None else min(all_usd, self.cap_usd)
