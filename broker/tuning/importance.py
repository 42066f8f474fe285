"""Which variables of a study matter, by Optuna's PED-ANOVA (Watanabe and others, IJCAI 2023)."""

import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from typing import NamedTuple

from mlbroker.broker.tuning.record import StudyState
from mlbroker.broker.tuning.searchers.tpe import distributions, load_optuna
from mlbroker.policies.tuning.interface import FAILED

# Of fewer trials nothing is said.
LEAST_TRIALS = 10
# The trials compared are as far as a third of them came, at least.
SHARE = 3


class Importance(NamedTuple):
    """The share of each variable; of so many trials, compared after `step` steps."""

    shares: Mapping[str, float]
    step: int
    trials: int


def importance_of(found: StudyState) -> Importance | None:
    """None where Optuna is not installed, or the trials are too few or all alike."""
    if find_spec("optuna") is None or len(found.study.space) < 2:
        return None
    known = [each for each in found.trials if not each.failed and each.trial.score > FAILED]
    if len(known) < LEAST_TRIALS:
        return None
    reached = sorted((each.trial.reached for each in known), reverse=True)
    step = reached[max(len(known) // SHARE, LEAST_TRIALS) - 1]
    seen = [each for each in known if each.trial.reached >= step]
    scored = [(each, each.trial.best[step - 1]) for each in seen]
    scored = [(each, score) for each, score in scored if score > FAILED]
    if len(scored) < LEAST_TRIALS or len({score for _, score in scored}) < 2:
        return None
    optuna = load_optuna()
    parts = distributions(optuna, found.study.space)
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        optuna.trial.create_trial(params=dict(each.point), distributions=parts, value=score)
        for each, score in scored
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is experimental, and says so each time
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return Importance(shares, step, len(scored))
