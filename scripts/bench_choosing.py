"""Plays all strategies on the evaluation tables, and writes the figures into docs/benchmarks.md.

The tables are not part of the project; without them there is nothing to do, and that is said.
"""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import geometric_mean

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from markers import replace_block, table

from mlbroker.broker.backtest.past import Library
from mlbroker.broker.backtest.strategies import STRATEGIES
from mlbroker.broker.backtest.table import Table, understand
from mlbroker.broker.backtest.trials import Setting, Trial, bootstrap, play, summary
from mlbroker.broker.measure.table import read_measurements
from mlbroker.broker.prices.price_book import open_book
from mlbroker.policies.planner.book import fill_hardware
from mlbroker.profiles.measurement import Measurement

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
TABLES = {
    "scout": "scout.csv",
    "sparecores_aws": "sparecores_aws.csv.gz",
    "sia_dev": "sia_dev.csv",
}
HOURS = (1.0, 8.0, 72.0)
DEADLINE_FACTOR = 1.5
# Strategies that draw lots are played so often, and averaged.
REPEATS = {"random-3": 10}
USUAL = ("random-3", "most-usual", "fastest", "cheapest-per-hour", "best-fixed", "all-probed")

Results = dict[tuple[str, str, float, bool], list[Trial]]


def table_files() -> dict[str, Path]:
    """The tables, from $MLBROKER_EVAL or beside the project; none, and said, where one lacks."""
    folder = Path(os.environ.get("MLBROKER_EVAL", ROOT.parent / "shared" / "data" / "eval"))
    missing = [name for name in TABLES.values() if not (folder / name).exists()]
    if missing:
        print(f"Skipped: {', '.join(missing)} not found in {folder} (set MLBROKER_EVAL).")
        return {}
    return {name: folder / file for name, file in TABLES.items()}


def table_rows(file: Path) -> list[Measurement]:
    """The rows of a table, with the hardware of types that the price book knows."""
    with tempfile.TemporaryDirectory() as home:
        return fill_hardware(open_book(Path(home)), list(read_measurements(file)))


def all_results(games: dict[str, Table]) -> Results:
    """Every strategy on every table, at every job length, with a deadline and without."""
    found: Results = {}
    for name, game in games.items():
        library = Library(game)
        for strategy in STRATEGIES:
            for hours in HOURS:
                for deadline in (False, True):
                    setting = Setting(
                        strategy,
                        job_hours=hours,
                        deadline_factor=DEADLINE_FACTOR if deadline else None,
                        repeats=REPEATS.get(strategy, 1),
                    )
                    found[name, strategy, hours, deadline] = play(game, library, setting)
    return found


def cells(results: Results, name: str, strategy: str, deadline: bool, key: str) -> list[float]:
    """One figure of a strategy on a table, for each job length."""
    found = []
    for hours in HOURS:
        value = summary(results[name, strategy, hours, deadline])[key]
        found.append(float("nan") if value is None else float(value))
    return found


def slashed(values: Sequence[float], form: str = ".2f") -> str:
    """ "1.55 / 1.34 / 1.35" """
    return " / ".join(format(value, form) for value in values)


def all_in_table(results: Results, deadline: bool) -> str:
    """All-in cost of every strategy on every table, and the geometric mean over tables."""
    rows = []
    for strategy in STRATEGIES:
        per_table = [cells(results, name, strategy, deadline, "all_in_ratio") for name in TABLES]
        means = [geometric_mean(column) for column in zip(*per_table, strict=True)]
        rows.append([f"`{strategy}`", *map(slashed, per_table), slashed(means)])
    return table(["strategy", *TABLES, "geometric mean"], rows)


def own_table(games: dict[str, Table], results: Results) -> str:
    """More on mlbroker's own choice."""
    rows = []
    for name, game in games.items():
        family = {job.name: job.family for job in game.jobs}
        for deadline in (False, True):
            spans = []
            for hours in HOURS:
                trials = results[name, "auto", hours, deadline]
                ratios = [trial.all_in_ratio for trial in trials]
                low, high = bootstrap(ratios, [family[trial.job] for trial in trials])
                spans.append(f"{low:.2f} to {high:.2f}")
            probes = [
                summary(results[name, "auto", hours, deadline])["probes"]["mean"] for hours in HOURS
            ]
            missed = cells(results, name, "auto", deadline, "deadline_miss_rate")
            rows.append(
                [
                    name,
                    f"{DEADLINE_FACTOR:g} times fastest" if deadline else "none",
                    " / ".join(spans),
                    slashed(cells(results, name, "auto", deadline, "cost_ratio")),
                    slashed(probes, ".1f"),
                    slashed(missed, ".0%") if deadline else "",
                    slashed(cells(results, name, "auto", deadline, "median_ape"), ".0%"),
                    slashed(cells(results, name, "auto", deadline, "interval80_coverage"), ".0%"),
                ]
            )
    head = ["table", "deadline", "all-in, 80 % interval", "run alone", "probes"]
    return table([*head, "missed", "error", "80 % held"], rows)


def judged(results: Results) -> tuple[str, bool]:
    """The targets, and whether all are met."""
    lines, good = [], True
    for place, hours in enumerate(HOURS):
        own = [cells(results, name, "auto", False, "all_in_ratio")[place] for name in TABLES]
        others = {
            strategy: [
                cells(results, name, strategy, False, "all_in_ratio")[place] for name in TABLES
            ]
            for strategy in USUAL
        }
        best = min(others, key=lambda strategy: geometric_mean(others[strategy]))
        gain = 1 - geometric_mean(own) / geometric_mean(others[best])
        worst = max(
            mine / min(values)
            for mine, values in zip(own, zip(*others.values(), strict=True), strict=True)
        )
        wanted = 0.12 if hours > 1 else 0.0
        good = good and gain >= wanted and worst <= 1.15
        lines.append(
            f"At {hours:g} h: {gain:.0%} below the best usual strategy over all tables (`{best}`; "
            f"target: {wanted:.0%}), and on no table above {worst:.2f} times the best usual one "
            "(target: 1.15)."
        )
    missed = max(max(cells(results, name, "auto", True, "deadline_miss_rate")) for name in TABLES)
    held = [
        share
        for name in TABLES
        for deadline in (False, True)
        for share in cells(results, name, "auto", deadline, "interval80_coverage")
    ]
    lines.append(f"Deadlines missed at most: {missed:.1%} (target: 3 %).")
    lines.append(
        f"80 % intervals held in {min(held):.0%} to {max(held):.0%} of cases, "
        f"{sum(held) / len(held):.0%} on average (target: 75 to 90 %)."
    )
    good = good and missed <= 0.03 and 0.75 <= sum(held) / len(held) <= 0.9
    return "\n".join(lines), good


def main() -> int:
    """Play, write, judge."""
    files = table_files()
    if not files:
        return 0
    began = time.perf_counter()
    games = {name: understand(table_rows(file), file.name, print) for name, file in files.items()}
    results = all_results(games)
    verdict, good = judged(results)
    spans = [
        span
        for key, trials in results.items()
        for trial in trials
        if key[1] == "auto"
        for span in trial.decision_s
    ]
    text = (
        "All-in cost (probes and run, set-up of 60 s included) over the cheapest run possible, "
        "for jobs of 1 / 8 / 72 h:\n\n"
        f"{all_in_table(results, deadline=False)}\n\n"
        f"With a deadline of {DEADLINE_FACTOR:g} times the fastest run, against the cheapest run "
        "that meets it (a strategy that ignores the deadline can be below 1):\n\n"
        f"{all_in_table(results, deadline=True)}\n\n"
        "mlbroker's own way (`auto`) in more detail:\n\n"
        f"{own_table(games, results)}\n\n"
        f"{verdict}\n"
        f"A decision took {1e3 * sum(spans) / len(spans):.0f} ms on average, "
        f"{1e3 * max(spans):.0f} ms at most.\n"
        f"{datetime.now(UTC):%Y-%m-%d}, Python {sys.version.split()[0]}, "
        f"{time.perf_counter() - began:.0f} s in all; `make backtest` measures them anew."
    )
    print(text)
    PAGE.write_text(
        replace_block(PAGE.read_text(encoding="utf-8"), "choosing", text), encoding="utf-8"
    )
    if not good:
        print("A target was missed.", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
