"""LightGBM and XGBoost: every boosting round is a step."""

import functools
import inspect
import sys
from typing import Any, Optional

from ._events import Counter, harmless
from ._loops import loop_around, outside

_lightgbm = Counter("lightgbm")
_xgboost = Counter("xgboost")
# The loop in which LightGBM's training stands; its rounds are known only after the first one.
_loop: Optional[str] = None


def count_lightgbm(module: Any) -> None:
    """Add a callback to every call of `lightgbm.train`, which the scikit-learn classes use too."""
    original = module.train
    signature = inspect.signature(original)
    _lightgbm.announce("library", "lightgbm")

    @functools.wraps(original)
    def train(*args: Any, **kwargs: Any) -> Any:
        try:
            call = signature.bind_partial(*args, **kwargs)
            call.arguments["callbacks"] = [*(call.arguments.get("callbacks") or []), _after_round]
        except TypeError:
            return original(*args, **kwargs)  # which says what is wrong with the call
        _begin_lightgbm(sys._getframe(1))
        return original(*call.args, **call.kwargs)

    module.train = train


@harmless
def _begin_lightgbm(frame: Any) -> None:
    global _loop
    _loop = loop_around(outside("lightgbm", frame))
    _say_version(_lightgbm)
    _lightgbm.begin()


@harmless
def _after_round(env: Any) -> None:
    if env.iteration == env.begin_iteration:
        _lightgbm.enter(env.end_iteration - env.begin_iteration, _loop)
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
        _begin_xgboost(signature, args, kwargs, sys._getframe(1))
        return original(*args, **kwargs)

    module.train = train


@harmless
def _begin_xgboost(signature: inspect.Signature, args: Any, kwargs: Any, frame: Any) -> None:
    call = signature.bind_partial(*args, **kwargs)
    call.apply_defaults()
    _say_version(_xgboost)
    rounds = int(call.arguments["num_boost_round"])
    _xgboost.enter(rounds, loop_around(outside("xgboost", frame)))


def _say_version(counter: Counter) -> None:
    if counter.count == 0:
        library = sys.modules.get(counter.source)
        counter.note(counter.source, getattr(library, "__version__", "?"))
