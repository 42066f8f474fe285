"""What studies on a table of learning curves would have cost."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.backtest.curve_table import CurveTable, Values, read_configs, read_curves
from mlbroker.broker.backtest.studies import (
    CAP_RATIO,
    REFERENCE_TRIALS,
    Plan,
    past_of,
    study_tasks,
)
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.yaml_fields import nearest_hint
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.broker.tuning.searchers import SEARCHERS
from mlbroker.broker.words import count
from mlbroker.policies.tuning import POLICIES

GOALS = ("maximize", "minimize")
MOST_WORKERS = 10_000


@dataclass(frozen=True, slots=True)
class TuneRequest:
    """What the command line asks for. `goal` and `metric` are None for what the table's columns
    say, `searcher` is `auto` for the best that the table allows.
    """

    curves: Path
    configs: Path | None
    searcher: str
    policy: str
    workers: int
    warm: bool
    goal: str | None
    metric: str | None
    seed: int
    repeats: int


def backtest_tuning(request: TuneRequest, listener: Listener) -> dict[str, Any]:
    """The document of `mlbroker tune backtest --json`; InputError for what cannot be."""
    _known("--policy", "policy", request.policy, tuple(POLICIES))
    _known("--searcher", "searcher", request.searcher, ("auto", *SEARCHERS))
    if request.goal is not None:
        _known("--goal", "goal", request.goal, GOALS)
    if not 1 <= request.workers <= MOST_WORKERS:
        raise InputError(f"{request.workers} is not a number of workers", where="--workers",
                         hint=f"from 1 to {MOST_WORKERS:,}")  # fmt: skip
    table = read_curves(request.curves, request.goal, request.metric, listener.warn)
    values = _values(table, request.configs)
    few = [task for task in table.tasks if len(task.configs) < REFERENCE_TRIALS]
    if few:
        least = min(len(task.configs) for task in few)
        listener.warn(
            f"{count(len(few), 'task')} with fewer than {REFERENCE_TRIALS} configurations, {least} "
            f"at the least: held against as many trials as there are"
        )
    if request.warm:
        _refuse_no_past(table, request.curves)
    searcher = _searcher(request, values, listener)
    plan = Plan(request.policy, searcher, request.workers, request.warm, request.seed,
                request.repeats, values)  # fmt: skip
    return {
        "schema": "mlbroker.tune-backtest/1",
        "metric": table.metric,
        "goal": table.goal,
        "policy": request.policy,
        "searcher": searcher,
        "workers": request.workers,
        "warm": request.warm,
        "seed": request.seed,
        "repeats": request.repeats,
        "cap_ratio": CAP_RATIO,
        **study_tasks(table, plan),
    }


def _known(where: str, what: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise InputError(
            f"there is no {what} {quoted(name)}", where=where, hint=nearest_hint(name, known)
        )


def _values(table: CurveTable, path: Path | None) -> dict[str, Values]:
    """Hyperparameters of every configuration, from the file or the table; empty: unknown."""
    if path is None:
        return dict(table.values)
    found = read_configs(path)
    for task in table.tasks:
        for config in task.configs:
            if config not in found:
                raise InputError(f"lacks config {quoted(config)} of the curves", where=str(path))
    return dict(found)


def _refuse_no_past(table: CurveTable, path: Path) -> None:
    for task in table.tasks:
        if not past_of(task, table.tasks):
            raise InputError(
                f"no other task has configurations of task {quoted(task.task)}",
                where=str(path),
                hint="--warm takes the other tasks for the past; leave it away.",
            )


def _searcher(request: TuneRequest, values: dict[str, Values], listener: Listener) -> str:
    """The one of the registry that is meant."""
    wanted = request.searcher
    columns = zip(*(each.values() for each in values.values()), strict=True)
    varies = any(len(set(column)) > 1 for column in columns)
    if wanted != "auto":
        if wanted != "random" and not varies:
            raise InputError(
                f"the searcher {wanted} needs hyperparameters, and the table has none that vary",
                where="--searcher",
                hint="Name their file: --configs FILE, with a column config.",
            )
        return wanted
    if request.policy == "random-full":
        return "random"
    if not varies:
        listener.note("No hyperparameters are known: configurations are drawn at random.")
        return "random"
    if find_spec("optuna") is None:
        listener.warn("without the package optuna, configurations are drawn at random")
        return "random"
    return "tpe"
