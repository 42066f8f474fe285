"""Plays studies on recorded learning curves, into docs/benchmarks.md."""

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from markers import replace_block, table

from mlbroker.broker.app.tune_backtest import TuneRequest, backtest_tuning

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
EVAL = Path(os.environ.get("MLBROKER_EVAL", ROOT.parent / "shared" / "data" / "eval"))
TUNE = EVAL / "tune"
REPEATS = int(os.environ.get("REPEATS", "5"))
SEED = int(os.environ.get("SEED", "0"))
WORKERS = 8


class Setting(NamedTuple):
    """One row: a table, and how it is played."""

    name: str
    curves: str
    policy: str
    configs: str | None = None
    searcher: str = "auto"
    warm: bool = False


LCBENCH, TASKSET = "lcbench_curves.parquet", "taskset_curves.parquet"
SETTINGS = (
    *(
        Setting(name, curves, policy, searcher="random")
        for name, curves in (("TaskSet", TASKSET), ("LCBench", LCBENCH))
        for policy in ("random-full", "asha-stop", "sha-pause", "auto")
    ),
    Setting("TaskSet", TASKSET, "auto"),
    Setting("LCBench", LCBENCH, "auto", "lcbench_configs.csv"),
    Setting("TaskSet", TASKSET, "auto", warm=True),
    Setting("LCBench", LCBENCH, "auto", warm=True),
)


class Silent:
    """Nobody is told what the table lacks; the page says it."""

    def note(self, text: str) -> None:
        """Left out."""

    def warn(self, text: str) -> None:
        """Left out."""


def played(setting: Setting) -> dict[str, Any]:
    """The document of this setting."""
    configs = None if setting.configs is None else TUNE / setting.configs
    # Whole trials differ most from one another, and are cheap to play.
    repeats = 4 * REPEATS if setting.policy == "random-full" else REPEATS
    request = TuneRequest(
        TUNE / setting.curves, configs, setting.searcher, setting.policy, WORKERS, setting.warm,
        None, None, SEED, repeats,
    )  # fmt: skip
    return backtest_tuning(request, Silent())


def by_task(told: dict[str, Any]) -> dict[str, float]:
    """Mean cost of each task."""
    names = dict.fromkeys(each["task"] for each in told["tasks"])
    return {
        name: fmean(each["cost_ratio"] for each in told["tasks"] if each["task"] == name)
        for name in names
    }


def main() -> int:
    """All settings, onto the page; 1 where the targets are missed."""
    if not TUNE.exists():
        print(f"There is nothing to play: no {TUNE.name} among the evaluation data.")
        return 0
    began = time.perf_counter()
    with ProcessPoolExecutor(2) as pool:
        told = dict(zip(SETTINGS, pool.map(played, SETTINGS), strict=True))
    rows = []
    for setting, each in told.items():
        worst = max(by_task(each).items(), key=lambda task: task[1])
        total = each["summary"]
        rows.append(
            [
                setting.name + (", warm" if setting.warm else ""),
                setting.policy,
                each["searcher"],
                f"{total['cost_ratio']:.3f}",
                f"{total['time_ratio']:.3f}",
                f"{total['missed']:.1%}",
                f"{total['trials']:.0f}",
                f"{worst[1]:.2f}",
            ]
        )
        print("  ".join(rows[-1]), flush=True)
    missed = list(_missed(told))
    said = "All targets are reached." if not missed else "Missed: " + "; ".join(missed) + "."
    head = ["table", "policy", "searcher", "cost", "time", "missed", "trials", "dearest task"]
    text = (
        f"{table(head, rows)}\n\n{said}\n\n"
        f"{WORKERS} workers, seed {SEED}, {REPEATS} studies a task, {4 * REPEATS} of whole random "
        f"trials. {datetime.now(UTC):%Y-%m-%d}, Python {sys.version.split()[0]}, "
        f"{time.perf_counter() - began:.0f} s in all; `make bench-tune` measures them anew."
    )
    print(said)
    PAGE.write_text(replace_block(PAGE.read_text(encoding="utf-8"), "tune", text), "utf-8")
    return 1 if missed else 0


def _missed(told: dict[Setting, dict[str, Any]]) -> Iterator[str]:
    """Cold and warm cost, warm time against random trials, and no task worse than these."""
    for setting, each in told.items():
        if setting.policy != "auto" or (setting.searcher == "random" and setting.name == "TaskSet"):
            continue
        name = f"{setting.name} by {each['searcher']}{', warm' if setting.warm else ''}"
        total = each["summary"]
        plain = next(
            other
            for whole, other in told.items()
            if (whole.curves, whole.policy) == (setting.curves, "random-full")
        )
        most = 0.1 if setting.name == "TaskSet" else 0.3
        if not setting.warm and total["cost_ratio"] > most:
            yield f"{name}: cost {total['cost_ratio']:.3f}, at most {most:g}"
        if total["missed"] > 0.02:
            yield f"{name}: {total['missed']:.1%} missed, at most 2 %"
        if setting.warm:
            for key, least in (("cost_ratio", 5), ("time_ratio", 15)):
                gain = plain["summary"][key] / total[key]
                what = key.removesuffix("_ratio")
                if gain < least:
                    yield f"{name}: {what} {gain:.1f} times less, at least {least}"
        random = by_task(plain)
        worse = [task for task, cost in by_task(each).items() if cost > random[task]]
        if worse:
            yield f"{name}: worse than whole random trials on {', '.join(worse)}"


if __name__ == "__main__":
    sys.exit(main())
