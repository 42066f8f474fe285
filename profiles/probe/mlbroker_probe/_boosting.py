"""LightGBM and XGBoost: every boosting round is a step."""

import functools
import inspect
import sys
from typing import Any

from ._events import Counter

_lightgbm = Counter("lightgbm")
_xgboost = Counter("xgboost")


def count_lightgbm(module: Any) -> None:
    """Add a callback to every call of `lightgbm.train`, which the scikit-learn classes use too."""
    original = module.train
    signature = inspect.signature(original)
    _lightgbm.announce("library", "lightgbm")

    @functools.wraps(original)
    def train(*args: Any, **kwargs: Any) -> Any:
        call = signature.bind_partial(*args, **kwargs)
        call.arguments["callbacks"] = [*(call.arguments.get("callbacks") or []), _after_round]
        _begin(_lightgbm)
        return original(*call.args, **call.kwargs)

    module.train = train


def _after_round(env: Any) -> None:
    if env.iteration == env.begin_iteration:
        rounds = env.end_iteration - env.begin_iteration
        _lightgbm.total = rounds if _lightgbm.count == 0 else None
    _lightgbm.add(1)


# After the job's own callbacks: early stopping raises before it comes to us.
_after_round.order = 1000  # type: ignore[attr-defined]


def count_xgboost(module: Any) -> None:
    """Hook into the booster's update, which every interface goes through."""
    original = module.Booster.update
    _xgboost.announce("library", "xgboost")

    @functools.wraps(original)
    def update(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        _xgboost.add(1)
        return result

    module.Booster.update = update


def know_xgboost_rounds(module: Any) -> None:
    """The number of rounds is an argument of `xgboost.train`."""
    original = module.train
    signature = inspect.signature(original)

    @functools.wraps(original)
    def train(*args: Any, **kwargs: Any) -> Any:
        call = signature.bind_partial(*args, **kwargs)
        call.apply_defaults()
        rounds = int(call.arguments["num_boost_round"])
        _xgboost.total = rounds if _xgboost.count == 0 else None
        _begin(_xgboost)
        return original(*args, **kwargs)

    module.train = train


def _begin(counter: Counter) -> None:
    if counter.count == 0:
        library = sys.modules.get(counter.source)
        counter.note(counter.source, getattr(library, "__version__", "?"))
        # One call of `train` is taken for the whole job, as long as no second one comes.
        counter.note("total", "length")
    counter.begin()
