"""Attaches a counter to a training library at the moment the job imports it.

Every Python of the job loads this, most of them for nothing: so it imports as good as nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module

MYPY = False
if MYPY:
    from typing import Any

# Module of the library -> our module and function that is given it once it is loaded.
HOOKS = {
    "torch": ("_torch", "begin"),
    "torch.optim.optimizer": ("_torch", "count_optimizer_steps"),
    "torch.optim.lr_scheduler": ("_fits", "watch_schedules"),
    "torch.nn.modules.batchnorm": ("_fits", "watch_batch_norm"),
    "torch.amp.grad_scaler": ("_torch", "count_skipped_steps"),
    "torch.utils.data.dataloader": ("_torch", "watch_loading"),
    "torch.nn.parallel.distributed": ("_gradients", "watch_ddp"),
    "keras.src.callbacks.callback_list": ("_keras", "count_batches"),
    "keras.src.callbacks": ("_keras", "count_batches"),
    "lightgbm.engine": ("_boosting", "count_lightgbm"),
    "xgboost.core": ("_boosting", "count_xgboost"),
    "xgboost.training": ("_boosting", "know_xgboost_rounds"),
    "tqdm.std": ("_tqdm", "count_bars"),
}


def install() -> None:
    """From now on, imports of the modules above are noticed."""
    sys.meta_path.insert(0, _Finder())


class _Finder:
    """Lets the usual finders find a module, and adds our function to the end of its loading."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        """The spec of a module we care for; None leaves all others alone."""
        if name not in HOOKS:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                _add_to(spec.loader, name)
                return spec
        return None


def _add_to(loader: Any, name: str) -> None:
    load = getattr(loader, "exec_module", None)
    if load is None:
        return

    def exec_module(module: Any) -> None:
        load(module)
        ours, function = HOOKS[name]
        if getattr(module, "_mlbroker_counts", False):
            return  # loaded anew, over what was added before
        try:
            module._mlbroker_counts = True
            getattr(import_module("mlbroker_probe." + ours), function)(module)
        except Exception as error:
            sys.stderr.write("mlbroker: %s is not watched: %r\n" % (name, error))

    try:  # noqa: SIM105  # contextlib is not loaded yet
        loader.exec_module = exec_module
    except AttributeError:
        pass  # some loaders take no attributes: their modules go unwatched
