"""Reads a table of learning curves: tasks, configurations, and a metric after every step."""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.tables import open_table, refuse_what_is_no_file
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.broker.words import count
from mlbroker.policies.tuning.interface import FAILED
from mlbroker.policies.tuning.replay import Curves

KEYS = ("task", "config", "epoch_s")
LEAST_STEPS = 2
_STEP = re.compile(r"(.+)_(0|[1-9][0-9]{0,5})")
_LESS_IS_BETTER = ("loss", "err", "rmse", "mse", "mae", "nll", "perplexity", "ppl")
_MORE_IS_BETTER = ("acc", "auc", "f1", "score", "reward", "bleu", "r2", "map", "iou", "precision",
                   "recall")  # fmt: skip
Report = Callable[[str], None]
Values = Mapping[str, str]


class CurveTable(NamedTuple):
    """The tasks, the metric's name and goal, and what is known of each configuration.

    `values` holds hyperparameters as they are written, for each configuration the same names.
    """

    tasks: tuple[Curves, ...]
    metric: str
    goal: str
    values: Mapping[str, Values]


def read_curves(path: Path, goal: str | None, metric: str | None, report: Report) -> CurveTable:
    """The table; InputError names line and column of what cannot be."""
    refuse_what_is_no_file(path)
    with open_table(path, strict=True) as (names, rows):
        places = _places(names, path)
        name, steps = _metric(names, metric, path)
        less = _goal(name, goal, path) == "minimize"
        known = [each for each in names if each not in KEYS and not _STEP.fullmatch(each)]
        by_task: dict[str, _Task] = defaultdict(_Task)
        values: dict[str, Values] = {}
        for line, cells in rows:
            row = _Row(path, line, cells, places)
            config = row.text("config")
            task = by_task[row.text("task")]
            if config in task.lines:
                what = f"config {quoted(config)} was there before, in line {task.lines[config]}"
                raise row.wrong("config", what)
            task.lines[config] = line
            task.step_s.append(row.above_zero("epoch_s") if "epoch_s" in places else 1.0)
            scores = [row.score(column, less) for column in steps]
            # The state before the first step costs nothing and is no result.
            task.scores.append(scores[1:] if steps[0].endswith("_0") else scores)
            task.firsts.append(scores[0])
            mine = {column: row.text(column) for column in known}
            if values.setdefault(config, mine) != mine:
                raise row.wrong("config", f"config {quoted(config)} has other values elsewhere")
    if not by_task:
        raise InputError("has no learning curves", where=str(path))
    if "epoch_s" not in places:
        report(f"{path}: no column epoch_s: every step is taken for one second")
    tasks = tuple(_curves(task, found, path) for task, found in by_task.items())
    _doubt(by_task, report, path)
    return CurveTable(tasks, name, "minimize" if less else "maximize", values if known else {})


def read_configs(path: Path) -> Mapping[str, Values]:
    """Column `config`, and one of each hyperparameter."""
    refuse_what_is_no_file(path)
    found: dict[str, Values] = {}
    with open_table(path, strict=True) as (names, rows):
        places = _places(names, path, ("config",))
        columns = [name for name in names if name != "config"]
        if not columns:
            raise InputError("has no hyperparameters beside config", where=str(path))
        for line, cells in rows:
            row = _Row(path, line, cells, places)
            config = row.text("config")
            if config in found:
                raise row.wrong("config", f"config {quoted(config)} is there twice")
            found[config] = {column: row.text(column) for column in columns}
    if not found:
        raise InputError("has no configurations", where=str(path))
    return found


class _Task:
    """The rows of one task so far; `firsts` are the first scores of the table, free ones too."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self.scores: list[list[float]] = []
        self.firsts: list[float] = []
        self.step_s: list[float] = []


class _Row(NamedTuple):
    path: Path
    line: int
    cells: Sequence[str]
    places: Mapping[str, int]

    def cell(self, column: str) -> str:
        at = self.places[column]
        if at >= len(self.cells):
            raise self.wrong(column, "the cell is missing")
        return self.cells[at].strip()

    def text(self, column: str) -> str:
        """A cell with something in it."""
        text = self.cell(column)
        if not text:
            raise self.wrong(column, "the cell is empty")
        return text

    def above_zero(self, column: str) -> float:
        value = self._number(column, self.text(column))
        if not 0 < value < math.inf:
            raise self.wrong(column, f"{quoted(self.text(column))} is not a number above zero")
        return value

    def score(self, column: str, less_is_better: bool) -> float:
        """More is better; no number is what a trial that diverged has to show."""
        text = self.cell(column)
        value = self._number(column, text) if text else math.nan
        score = -value if less_is_better else value
        if math.isnan(score):
            return FAILED
        if score == math.inf:
            raise self.wrong(column, f"{quoted(text)} is better than any number")
        return score

    def _number(self, column: str, text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise self.wrong(column, f"{quoted(text)} is not a number") from None

    def wrong(self, column: str, what: str) -> InputError:
        return InputError(what, where=f"{self.path}, line {self.line}, column {column}")


def _places(
    names: Sequence[str], path: Path, needed: Iterable[str] = ("task", "config")
) -> Mapping[str, int]:
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"has two columns {quoted(name)}", where=str(path))
    for name in needed:
        if name not in names:
            hint = "task, config, epoch_s, and acc_1, acc_2, … or loss_0, loss_1, …"
            hint = hint if "task" in needed else "config, and a column a hyperparameter"
            raise InputError(f"has no column {name}", where=str(path), hint=f"Columns: {hint}")
    return {name: at for at, name in enumerate(names)}


def _metric(names: Sequence[str], wanted: str | None, path: Path) -> tuple[str, list[str]]:
    """The metric's name, and its columns by steps without a hole."""
    steps: dict[str, list[int]] = defaultdict(list)
    for name in names:
        found = _STEP.fullmatch(name)
        if found and name not in KEYS:
            steps[found[1]].append(int(found[2]))
    metrics = [name for name, at in steps.items() if len(at) >= LEAST_STEPS]
    if wanted is not None and wanted not in metrics:
        metrics = []
    if not metrics:
        what = "has no metric" if wanted is None else f"has no metric {quoted(wanted)}"
        hint = "One column a step, two at least: acc_1, acc_2, … or loss_0, loss_1, …"
        raise InputError(what, where=str(path), hint=hint)
    if wanted is None and len(metrics) > 1:
        what = f"has several metrics: {', '.join(sorted(metrics))}"
        raise InputError(what, where=str(path), hint=f"Choose one: --metric {metrics[0]}")
    name = wanted or metrics[0]
    numbers = sorted(steps[name])
    for expected, number in enumerate(numbers, min(numbers[0], 1)):
        if number != expected:
            raise InputError(f"has no column {name}_{expected}", where=str(path),
                             hint=f"The steps of {name} go to {numbers[-1]}.")  # fmt: skip
    return name, [f"{name}_{number}" for number in numbers]


def _goal(metric: str, goal: str | None, path: Path) -> str:
    if goal is not None:
        return goal
    words = re.split(r"[^a-z0-9]+", metric.lower())
    if any(word.startswith(_LESS_IS_BETTER) for word in words):
        return "minimize"
    if any(word.startswith(_MORE_IS_BETTER) for word in words):
        return "maximize"
    hint = "Say --goal maximize or --goal minimize."
    raise InputError(f"is more or less {quoted(metric)} better?", where=str(path), hint=hint)


def _curves(name: str, task: _Task, path: Path) -> Curves:
    if all(score == FAILED for scores in task.scores for score in scores):
        raise InputError(f"task {quoted(name)}: no configuration has a number", where=str(path))
    return Curves(name, tuple(task.lines), task.scores, task.step_s)


def _doubt(tasks: Mapping[str, _Task], report: Report, path: Path) -> None:
    """What can be played, and is probably not meant."""
    constant = worse = 0
    for task in tasks.values():
        ends = [max(scores) for scores in task.scores]
        constant += len({score for scores in task.scores for score in scores}) == 1
        pairs = zip(task.scores, task.firsts, strict=True)
        worse += all(scores[-1] < first for scores, first in pairs) and max(ends) > FAILED
    if constant:
        report(f"{path}: {count(constant, 'task')} with one and the same metric everywhere")
    if worse:
        report(
            f"{path}: {count(worse, 'task')} where every configuration ends worse than it began: "
            f"is --goal right?"
        )
