"""Studies on a table of learning curves, against full random trials."""

import math
import zlib
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from mlbroker.broker.backtest.curve_table import CurveTable, Values
from mlbroker.broker.backtest.table_search import Grounds, Nearest, Untried
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.broker.tuning.searchers import SEARCHERS
from mlbroker.policies.tuning import POLICIES
from mlbroker.policies.tuning.interface import FAILED, Searcher
from mlbroker.policies.tuning.past import PastFirst
from mlbroker.policies.tuning.replay import Curves, play

# What a study is held against: so many trials at random, each to its end.
REFERENCE_TRIALS = 64
# A study gives up at so much of what they cost: it has missed, and is charged for it.
CAP_RATIO = 3.0


class Plan(NamedTuple):
    """How each task is studied; `values` are the hyperparameters of the configurations."""

    policy: str
    searcher: str
    workers: int
    warm: bool
    seed: int
    repeats: int
    values: Mapping[str, Values]


def reference_trials(curves: Curves) -> int:
    """64, or all configurations where there are fewer."""
    return min(REFERENCE_TRIALS, len(curves.configs))


def target(curves: Curves) -> float:
    """The median of the best final score of 64 whole trials, drawn without coming back to one.

    The k best of n configurations are
    all left out by a draw of m with probability C(n-k, m)/C(n, m): the target is the best score
    number k, for the least k where that is not above one half.
    """
    best = sorted((scores[-1] for scores in curves.scores), reverse=True)
    n, m = len(best), reference_trials(curves)
    drawn = math.comb(n, m)
    return next(best[k - 1] for k in range(1, n + 1) if 2 * math.comb(n - k, m) <= drawn)


def study_tasks(table: CurveTable, plan: Plan) -> dict[str, Any]:
    """`tasks[]`, one entry a task and repeat, and `summary`, of the document."""
    grounds = {task.configs: _grounds(task.configs, plan) for task in table.tasks}
    tasks = []
    for curves in table.tasks:
        goal = target(curves)
        if goal == FAILED:
            what = f"task {quoted(curves.task)}: most configurations end without a number"
            raise InputError(what, hint="64 whole trials at random would reach nothing.")
        cost_s = reference_trials(curves) * curves.whole_s()
        past = past_of(curves, table.tasks) if plan.warm else []
        for repeat in range(plan.repeats):
            seed = f"{plan.seed} {repeat} {curves.task}"
            searcher = _searcher(curves, past, grounds[curves.configs], plan, seed)
            policy, cap_s = POLICIES[plan.policy](), CAP_RATIO * cost_s
            warm = bool(past)
            ended = play(curves, goal, plan.workers, cap_s, policy, searcher, warm=warm)
            tasks.append(
                {
                    "task": curves.task,
                    "repeat": repeat,
                    "target": goal if table.goal == "maximize" else -goal,
                    "reference_trials": reference_trials(curves),
                    "cost_ratio": _rounded(ended.cost_s / cost_s),
                    "time_ratio": _rounded(ended.time_s * plan.workers / cost_s),
                    "missed": ended.missed,
                    "trials": ended.trials,
                }
            )
    return {"tasks": tasks, "summary": _summary(tasks)}


def past_of(curves: Curves, tasks: Sequence[Curves]) -> list[Curves]:
    """The other tasks, as far as they share configurations with this one."""
    mine = set(curves.configs)
    return [each for each in tasks if each is not curves and not mine.isdisjoint(each.configs)]


def _grounds(configs: Sequence[str], plan: Plan) -> Grounds | None:
    if plan.searcher == "random":
        return None
    return Grounds([plan.values[config] for config in configs])


def _searcher(
    curves: Curves, past: Sequence[Curves], grounds: Grounds | None, plan: Plan, seed: str
) -> Searcher[int]:
    left = set(range(len(curves.configs)))
    cold: Searcher[int]
    if grounds is None:
        cold = Untried(len(curves.configs), seed, left)
    else:
        number = zlib.crc32(seed.encode())
        cold = Nearest(grounds, SEARCHERS[plan.searcher](grounds.space, number), left)
    return PastFirst(curves.configs, past, cold, left) if past else cold


def _summary(tasks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "cost_ratio": _rounded(fmean(each["cost_ratio"] for each in tasks)),
        "time_ratio": _rounded(fmean(each["time_ratio"] for each in tasks)),
        "missed": _rounded(fmean(each["missed"] for each in tasks)),
        "trials": _rounded(fmean(each["trials"] for each in tasks)),
    }


def _rounded(number: float) -> float:
    """To the digits that matter."""
    return float(f"{number:.5g}")
