"""Plays adaptive training on measured trainings, into docs/benchmarks.md."""

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from markers import replace_block, table

from mlbroker.broker.app.goodput_backtest import backtest_goodput
from mlbroker.broker.backtest.goodput import Setting
from mlbroker.broker.cli.terminal import Terminal
from mlbroker.broker.home import home
from mlbroker.policies.adapt import STRATEGIES

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
EVAL = Path(os.environ.get("MLBROKER_EVAL", ROOT.parent / "shared" / "data" / "eval")) / "goodput"
TABLES = EVAL / "goodput_steps.csv", EVAL / "goodput_epochs.csv"
JOB_HOURS = 8.0
# By deadline, as a share of the default batch's time on the cheapest type with one GPU: the most
# that all of it may cost over the clairvoyant.
MOST = {None: 1.12, 1.0: 1.18, 0.25: 1.25, 0.125: 1.35}
MOST_LATE = 0.02
# How much dearer a fixed batch is, at least, at a quarter of that time.
FIXED_AT, FIXED_LEAST = 0.25, 3.0


def played(strategy: str) -> list[dict[str, Any]]:
    """A document for each deadline."""
    settings = [Setting(strategy, JOB_HOURS, factor) for factor in MOST]
    return backtest_goodput(*TABLES, settings, home(), Terminal())


def main() -> int:
    """All strategies under all deadlines, onto the page; 1 where the targets are missed."""
    if not all(path.exists() for path in TABLES):
        print(f"skipped: {TABLES[0].name} and {TABLES[1].name} are not in {EVAL}")
        return 0
    began = time.perf_counter()
    with ProcessPoolExecutor(2) as pool:
        documents = dict(zip(STRATEGIES, pool.map(played, STRATEGIES), strict=True))
    rows = []
    for at, factor in enumerate(MOST):
        for name, told in documents.items():
            total, jobs = told[at]["summary"], told[at]["jobs"]
            rows.append(
                [
                    _deadline(factor),
                    name,
                    f"{total['all_in_ratio']:.2f}",
                    f"{total['cost_ratio']:.2f}",
                    ", ".join(f"{job['all_in_ratio']:.2f}" for job in jobs),
                    f"{total['probes']:.1f}",
                    f"{total['moves']:.1f}",
                    f"{sum(not job['deadline_met'] for job in jobs)} of {len(jobs)}",
                ]
            )
            print("  ".join(rows[-1]), flush=True)
    missed = list(_missed(documents))
    said = "All targets are reached." if not missed else "Missed: " + "; ".join(missed) + "."
    head = ["deadline", "strategy", "all-in", "without probes", "by job", "probes", "moves", "late"]
    jobs = ", ".join(job["job"] for job in documents["auto"][0]["jobs"])
    text = (
        f"{table(head, rows)}\n\n{said} {_fixed_in_time(documents)}\n\n"
        f"Jobs: {jobs}; {JOB_HOURS:g} h at the default batch on the cheapest type with one GPU. "
        f"{datetime.now(UTC):%Y-%m-%d}, Python {sys.version.split()[0]}, "
        f"{time.perf_counter() - began:.0f} s in all; `make bench-goodput` measures them anew."
    )
    print(said)
    PAGE.write_text(replace_block(PAGE.read_text(encoding="utf-8"), "goodput", text), "utf-8")
    return 1 if missed else 0


def _deadline(factor: float | None) -> str:
    return "none" if factor is None else "T0" if factor == 1 else f"T0 / {1 / factor:g}"


def _fixed_in_time(documents: dict[str, list[dict[str, Any]]]) -> str:
    """What a fixed batch costs where it is in time: late jobs are no like with like."""
    at = list(MOST).index(FIXED_AT)
    auto, fixed = (documents[name][at]["jobs"] for name in ("auto", "fixed-batch"))
    ratios = [
        f"{theirs['all_in_usd'] / ours['all_in_usd']:.1f}"
        for ours, theirs in zip(auto, fixed, strict=True)
        if theirs["deadline_met"]
    ]
    if not ratios:
        return f"With a fixed batch nothing is in time at {_deadline(FIXED_AT)}."
    return (
        f"Where a fixed batch is in time at {_deadline(FIXED_AT)}, it is "
        f"{' and '.join(ratios)} times as dear."
    )


def _missed(documents: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """The broker's all-in cost and lateness, and what the growing batch is worth."""
    for told, (factor, most) in zip(documents["auto"], MOST.items(), strict=True):
        ratio = told["summary"]["all_in_ratio"]
        if ratio > most:
            yield f"{_deadline(factor)}: {ratio:.2f} of the clairvoyant, at most {most:g}"
    late = fmean(told["summary"]["deadline_miss_rate"] for told in documents["auto"])
    if late > MOST_LATE:
        yield f"{late:.1%} late, at most {MOST_LATE:.0%}"
    at = list(MOST).index(FIXED_AT)
    auto, fixed = (
        documents[name][at]["summary"]["all_in_ratio"] for name in ("auto", "fixed-batch")
    )
    if fixed < FIXED_LEAST * auto:
        yield f"a fixed batch is {fixed / auto:.1f} times as dear, at least {FIXED_LEAST:g}"


if __name__ == "__main__":
    sys.exit(main())
