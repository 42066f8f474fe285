"""Step times of machines, from what is known. The registry's order is the preference.

A new estimator is one module of the `Estimator` protocol in `interface` and one entry here.
"""

from collections.abc import Hashable, Sequence

from mlbroker.profiles.estimators import datasheet, measured, stated, transfer
from mlbroker.profiles.estimators.interface import Estimator
from mlbroker.profiles.job import Job
from mlbroker.profiles.prediction import Evidence, Prediction, Target

ESTIMATORS: dict[str, Estimator] = {
    "measured": measured,
    "transfer": transfer,
    "datasheet": datasheet,
    "stated": stated,
}


def predict(evidence: Evidence, targets: Sequence[Target]) -> list[Prediction | None]:
    """The best prediction for each target, in their order: the first estimator that knows one."""
    found: list[Prediction | None] = [None] * len(targets)
    open_places = list(range(len(targets)))
    for estimator in ESTIMATORS.values():
        if not open_places:
            break
        answers = estimator.estimate(evidence, [targets[place] for place in open_places])
        for place, answer in zip(open_places, answers, strict=True):
            found[place] = answer
        open_places = [place for place in open_places if found[place] is None]
    return found


def guess_key(job: Job) -> Hashable:
    """All that predictions depend on of a job that was never measured."""
    return tuple(estimator.guess_key(job) for estimator in ESTIMATORS.values())
