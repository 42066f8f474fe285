"""Plays the choice with one past family only, which may be of quite another kind than the job.

Every pair of families of a table: the jobs of one are played while those of the other are all that
is past, and the other way round. Of the inference jobs, prompts and answers of one model are two
families, played against those of other models. Writes the figures into docs/benchmarks.md.
"""

import os
import re
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations
from statistics import fmean, geometric_mean

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from bench_choosing import DEADLINE_FACTOR, PAGE, table_files, table_rows
from markers import replace_block, table

from mlbroker.broker.backtest.past import Library
from mlbroker.broker.backtest.table import Table, TrueJob, understand
from mlbroker.broker.backtest.trials import Setting, Trial, play

HOURS = 8.0
# Reading a prompt is bound by compute, and gains from a GPU; writing is bound by memory.
KIND = re.compile(r"/(prompt|gen)\d+$")
Regime = tuple[str, str]


def kind(job: TrueJob) -> str:
    """ "prompt" or "gen" of the jobs that have such kinds, else nothing."""
    found = KIND.search(job.name)
    return found[1] if found else ""


def pairs(game: Table) -> list[tuple[list[TrueJob], list[TrueJob]]]:
    """Jobs of two families that are no sisters."""
    groups: dict[tuple[str, str], list[TrueJob]] = {}
    for job in game.jobs:
        groups.setdefault((job.family, kind(job)), []).append(job)
    return [
        (groups[one], groups[other])
        for one, other in combinations(sorted(groups), 2)
        if one[0] != other[0]
    ]


def played(game: Table, deadline: bool) -> dict[Regime, list[Trial]]:
    """All trials, by the kind of what is past and of the job."""
    setting = Setting("auto", HOURS, DEADLINE_FACTOR if deadline else None)
    found: dict[Regime, list[Trial]] = {}
    for one, other in pairs(game):
        part = replace(game, jobs=(*one, *other))
        kinds = {job.name: kind(job) for job in part.jobs}
        swapped = {job.name: kind(other[0]) for job in one} | {
            job.name: kind(one[0]) for job in other
        }
        for trial in play(part, Library(part), setting):
            found.setdefault((swapped[trial.job], kinds[trial.job]), []).append(trial)
    return found


def main() -> int:
    """Play, and write the means."""
    files = table_files()
    if not files:
        return 0
    began = time.perf_counter()
    rows, means = [], []
    for deadline in (False, True):
        per_table = []
        for name, file in files.items():
            game = understand(table_rows(file), file.name, lambda _: None)
            regimes = played(game, deadline)
            everything = [trial for trials in regimes.values() for trial in trials]
            per_table.append(fmean(trial.all_in_ratio for trial in everything))
            if len(regimes) == 1:
                regimes = {}
            for (past, now), trials in [(("all", "all"), everything), *sorted(regimes.items())]:
                held = [t.interval80_coverage for t in trials if t.interval80_coverage is not None]
                rows.append(
                    [
                        name,
                        "all pairs" if past == "all" else f"{past} before {now}",
                        f"{DEADLINE_FACTOR:g} times fastest" if deadline else "none",
                        f"{fmean(trial.all_in_ratio for trial in trials):.2f}",
                        f"{fmean(len(trial.probes) for trial in trials):.1f}",
                        f"{fmean(not trial.deadline_met for trial in trials):.1%}"
                        if deadline
                        else "",
                        f"{fmean(held):.0%}",
                    ]
                )
        means.append(f"{geometric_mean(per_table):.2f}")
    head = ["table", "past family and job", "deadline", "all-in", "probes", "missed", "80 % held"]
    text = (
        f"{table(head, rows)}\n\n"
        f"Geometric mean over the tables, all pairs: {means[0]}, with the deadline {means[1]}. "
        f"Jobs of {HOURS:g} h. {datetime.now(UTC):%Y-%m-%d}, Python {sys.version.split()[0]}, "
        f"{time.perf_counter() - began:.0f} s in all; `make backtest-first` measures them anew."
    )
    print(text)
    PAGE.write_text(replace_block(PAGE.read_text(encoding="utf-8"), "first", text), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
