"""Step times of machines, from what is known. The registry's order is the preference.

A new estimator is one file with a function of the `Estimator` protocol and one entry here.
"""

from collections.abc import Sequence

from mlbroker.profiles.estimators import datasheet, measured, transfer
from mlbroker.profiles.prediction import Estimator, Evidence, Prediction, Target

ESTIMATORS: dict[str, Estimator] = {
    "measured": measured.estimate,
    "transfer": transfer.estimate,
    "datasheet": datasheet.estimate,
}


def predict(evidence: Evidence, targets: Sequence[Target]) -> list[Prediction | None]:
    """The best prediction for each target, in their order: the first estimator that knows one."""
    found: list[Prediction | None] = [None] * len(targets)
    open_places = list(range(len(targets)))
    for estimate in ESTIMATORS.values():
        if not open_places:
            break
        answers = estimate(evidence, [targets[place] for place in open_places])
        for place, answer in zip(open_places, answers, strict=True):
            found[place] = answer
        open_places = [place for place in open_places if found[place] is None]
    return found
