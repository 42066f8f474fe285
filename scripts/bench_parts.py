"""Plays the choice on parts of the evaluation tables, as a guard against tuning to whole ones.

Parts: machines drawn at random, whole machine families drawn at random, half of the jobs, and
machines with or without a GPU alone. Writes the figures into docs/benchmarks.md.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from statistics import fmean, geometric_mean

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


import numpy as np
from bench_choosing import DEADLINE_FACTOR, HOURS, PAGE, slashed, table_files, table_rows
from markers import replace_block, table

from mlbroker.broker.backtest.past import Library
from mlbroker.broker.backtest.table import understand
from mlbroker.broker.backtest.trials import Setting, Trial, play
from mlbroker.profiles.measurement import Measurement

SHARES_OF_MACHINES = (0.05, 0.125, 0.25, 0.5)
SHARES_OF_FAMILIES = (0.125, 0.25, 0.5)
FEWEST_MACHINES, FEWEST_JOBS, FEWEST_FAMILIES = 12, 8, 4
MODES = [(history, deadline) for history in (True, False) for deadline in (False, True)]

Rows = Sequence[Measurement]


def family(row: Measurement) -> str:
    """The machine family: what stands before the size in the type's name."""
    return (row.instance_type or row.config).partition(".")[0]


def has_gpu(row: Measurement) -> str:
    """ "gpu" or "cpu", as the table's own columns tell."""
    return "gpu" if row.features.get("gpus") else "cpu"


def drawn(rows: Rows, key: Callable[[Measurement], str], share: float, least: int) -> Rows:
    """The rows of a random share of what `key` tells apart; the same at every call."""
    names = sorted({key(row) for row in rows})
    count = max(least, round(share * len(names)))
    kept = set(np.random.default_rng(count).choice(names, min(count, len(names)), replace=False))
    return [row for row in rows if key(row) in kept]


def parts(rows: Rows) -> Iterator[Rows]:
    """The table itself, then its parts."""
    yield rows
    for share in SHARES_OF_MACHINES:
        yield drawn(rows, lambda row: row.config, share, FEWEST_MACHINES)
    if len({family(row) for row in rows}) >= FEWEST_FAMILIES:
        for share in SHARES_OF_FAMILIES:
            yield drawn(rows, family, share, 2)
    if len({row.job for row in rows}) >= FEWEST_JOBS:
        yield drawn(rows, lambda row: row.job, 0.5, FEWEST_JOBS)
    kinds = {has_gpu(row) for row in rows}
    if len(kinds) > 1:
        for kind in sorted(kinds):
            yield [row for row in rows if has_gpu(row) == kind]


def main() -> int:
    """Play each part in each way, and write the means."""
    files = table_files()
    if not files:
        return 0
    began = time.perf_counter()
    ratios: dict[tuple[bool, bool, float], list[float]] = {}
    trials: dict[tuple[bool, bool], list[Trial]] = {}
    count = 0
    for file in files.values():
        for part in parts(table_rows(file)):
            count += 1
            game = understand(part, file.name, lambda _: None)
            library = Library(game)
            for history, deadline in MODES:
                for hours in HOURS:
                    factor = DEADLINE_FACTOR if deadline else None
                    setting = Setting("auto", hours, factor, with_history=history)
                    played = play(game, library, setting)
                    mean = fmean(trial.all_in_ratio for trial in played)
                    ratios.setdefault((history, deadline, hours), []).append(mean)
                    trials.setdefault((history, deadline), []).extend(played)
    rows = []
    for history, deadline in MODES:
        means = [geometric_mean(ratios[history, deadline, hours]) for hours in HOURS]
        played = trials[history, deadline]
        held = [t.interval80_coverage for t in played if t.interval80_coverage is not None]
        missed = fmean(not trial.deadline_met for trial in played)
        rows.append(
            [
                "yes" if history else "no",
                f"{DEADLINE_FACTOR:g} times fastest" if deadline else "none",
                slashed(means),
                f"{fmean(len(trial.probes) for trial in played):.1f}",
                f"{missed:.1%}" if deadline else "",
                f"{fmean(held):.0%}",
            ]
        )
    head = ["history", "deadline", "all-in at 1 / 8 / 72 h", "probes", "missed", "80 % held"]
    text = (
        f"{table(head, rows)}\n\n"
        f"Geometric means over {count} tables and parts. "
        f"{datetime.now(UTC):%Y-%m-%d}, Python {sys.version.split()[0]}, "
        f"{time.perf_counter() - began:.0f} s in all; `make backtest-parts` measures them anew."
    )
    print(text)
    PAGE.write_text(replace_block(PAGE.read_text(encoding="utf-8"), "parts", text), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
