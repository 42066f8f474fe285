"""What adaptive training by goodput would have made of measured jobs."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.backtest.goodput import Library, Setting, document, play_all
from mlbroker.broker.backtest.goodput_table import read_trainings
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.yaml_fields import nearest_hint
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.broker.prices.price_book import open_book
from mlbroker.policies.adapt import STRATEGIES
from mlbroker.policies.adapt.training import Training
from mlbroker.pricing.gpu_names import gpu_model, unsold_model
from mlbroker.pricing.offer import Gpu
from mlbroker.pricing.unsold_gpus import figures_of


def backtest_goodput(
    steps: Path, epochs: Path, settings: Sequence[Setting], state: Path, listener: Listener
) -> list[dict[str, Any]]:
    """A document a setting, on tables of step times and of convergence (docs/adaptive.md).

    Data sheets are those of the price book of `state`. InputError for what cannot be.
    """
    for setting in settings:
        _refuse_nonsense(setting)
    trainings = read_trainings(steps, epochs, listener.warn)
    for setting in settings:
        if setting.only is not None and setting.only not in {one.name for one in trainings}:
            raise InputError(f"the tables have no job {quoted(setting.only)}", where="--only")
    library = Library(trainings, _log_speeds(trainings, open_book(state).gpus(), listener))
    if len(trainings) == 1 or not all(setting.with_history for setting in settings):
        listener.warn("no past jobs are known: what was not measured is a guess")
    tables = str(steps), str(epochs)
    return [document(tables, one, play_all(trainings, library, one)) for one in settings]


def _log_speeds(
    trainings: Sequence[Training], sheets: Sequence[Gpu], listener: Listener
) -> dict[str, float]:
    """By GPU type, against their mean; a type without a data sheet gets none, and is named."""
    sold = {gpu.model: gpu for gpu in sheets}
    names = sorted({one.machines.layout.gpu for job in trainings for one in job.times})
    found, lacking = {}, []
    for name in names:
        sheet = sold.get(gpu_model(name) or "") or figures_of(unsold_model(name) or "")
        if sheet is None or not sheet.tensor_tflops or not sheet.memory_bandwidth_gb_per_s:
            lacking.append(name)
        else:
            found[name] = math.log(sheet.tensor_tflops * sheet.memory_bandwidth_gb_per_s) / 2
    if lacking:
        listener.warn(
            f"no data sheet of {', '.join(map(quoted, lacking))}: "
            "where no other job ran on it, how fast it is stays a guess"
        )
    middle = sum(found.values()) / len(found) if found else 0.0
    return {name: speed - middle for name, speed in found.items()}


def _refuse_nonsense(setting: Setting) -> None:
    for flag, value in (
        ("--job-hours", setting.job_hours),
        ("--deadline-factor", setting.deadline_factor),
    ):
        if value is not None and not 0 < value < 1e9:
            raise InputError(f"{value:g} is not a number above zero", where=flag)
    if not 0 <= setting.setup_s < 1e9:
        raise InputError(f"{setting.setup_s:g} is not a length of time", where="--setup-s")
    if setting.strategy not in STRATEGIES:
        raise InputError(
            f"there is no strategy {quoted(setting.strategy)}",
            where="--strategy",
            hint=nearest_hint(setting.strategy, list(STRATEGIES)),
        )
