"""Optuna's TPE, fed at every rung with the best score of each point so far.

Optuna samples and nothing else: how far a trial goes is the policy's to say, and a paused trial
is as good as the rung that it reached. Every third point is drawn at random, as BOHB does
(Falkner and others, ICML 2018): where the first rungs mislead, the model is misled too.
"""

from collections.abc import Sequence
from random import Random as Lots
from typing import TYPE_CHECKING, Any

from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.extras import how_to_install
from mlbroker.broker.tuning.searchers.random import Random
from mlbroker.policies.tuning.interface import FAILED
from mlbroker.profiles.search_space import Choice, Point, Range, Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

RANDOM_SHARE = 1 / 3
# Optuna's own start-up: before so many points are known, nothing is modelled.
LEAST_KNOWN = 10
# A proposal takes time in proportion to the points that it rests on.
MOST_KNOWN = 300
# Optuna takes no infinite values, and only the order counts.
_WORST = -1e300


class Tpe:
    """Multivariate: variables that work together are proposed together."""

    def __init__(self, space: Space, seed: int) -> None:
        self._optuna = load_optuna()
        self._random, self._lots = Random(space, seed), Lots(f"tpe {seed}")
        self._parts = distributions(self._optuna, space)
        self._sampler = self._optuna.samplers.TPESampler(
            seed=seed, multivariate=True, n_startup_trials=LEAST_KNOWN
        )
        self._known: dict[tuple[Any, ...], FrozenTrial] = {}

    def ask(self) -> Point:
        """The next point; it may be one that was there before."""
        if len(self._known) < LEAST_KNOWN or self._lots.random() < RANDOM_SHARE:
            return self._random.ask()
        study = self._optuna.create_study(direction="maximize", sampler=self._sampler)
        study.add_trials(list(self._known.values())[-MOST_KNOWN:])
        point: Point = study.ask(self._parts).params
        return point

    def tell(self, point: Point, best: Sequence[float]) -> None:
        """What the point came to so far, in place of what it came to before."""
        key = tuple(point[name] for name in self._parts)
        # The last that is told counts as the newest.
        self._known.pop(key, None)
        self._known[key] = self._optuna.trial.create_trial(
            params=dict(point),
            distributions=self._parts,
            value=_WORST if best[-1] == FAILED else best[-1],
        )


def distributions(optuna: Any, space: Space) -> "dict[str, BaseDistribution]":
    """The space as Optuna has it."""
    return {name: _distribution(optuna.distributions, part) for name, part in space.items()}


def _distribution(kinds: Any, part: Range | Choice) -> "BaseDistribution":
    if isinstance(part, Choice):
        choice: BaseDistribution = kinds.CategoricalDistribution(part.values)
        return choice
    kind = kinds.IntDistribution if part.whole else kinds.FloatDistribution
    low, high = (int(part.low), int(part.high)) if part.whole else (part.low, part.high)
    ranged: BaseDistribution = kind(low, high, log=part.log)
    return ranged


def load_optuna() -> Any:
    """The module, quiet; MlbrokerError where it is not installed."""
    try:
        import optuna
    except ImportError:
        what = "this needs the package optuna"
        raise MlbrokerError(what, hint=how_to_install("tune")) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
