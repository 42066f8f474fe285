"""Plays the spot policies on recorded and synthetic traces, and shakes the shells.

JOBS (2,000) erratic and other jobs, with and without a budget, must never be late or over it.
Writes the figures into docs/benchmarks.md.
"""

import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from statistics import geometric_mean

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from markers import replace_block, table
from tests.support.spot_traces import Erratic

from mlbroker.broker.backtest.replays import draw_starts, is_in_time, replay
from mlbroker.broker.backtest.trace import read_trace
from mlbroker.policies.spot import POLICIES
from mlbroker.policies.spot.auto import Auto
from mlbroker.policies.spot.interface import Policy, Terms
from mlbroker.policies.spot.programme import solve
from mlbroker.policies.spot.replay import Trace, play

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
EVAL = Path(os.environ.get("MLBROKER_EVAL", ROOT.parent / "shared" / "data" / "eval"))
RECORDED = EVAL / "spot_v100_uswest.csv.gz"
ON_DEMAND_USD = 3.06
WORKS_H = (8.0, 48.0)
SLACKS = (1.05, 1.25, 1.6)
RESTARTS_H = (0.02, 0.1, 0.3)
STARTS = int(os.environ.get("STARTS", "4"))
JOBS = int(os.environ.get("JOBS", "2000"))
# Mean hours up and down of the synthetic zones, and the spot price as a share of on demand.
SYNTHETIC = {"calm": (8.0, 1.0, 0.3), "busy": (2.0, 0.7, 0.35), "scarce": (3.0, 5.0, 0.25)}


def synthetic(up_h: float, down_h: float, share: float, seed: int) -> Trace:
    """Two zones whose lives and outages are Weibull (shape .6): most short, some long."""
    rng = np.random.default_rng(seed)
    tick_h, ticks, scale = 0.05, 8_000, 1 / 1.504575  # the mean of that Weibull is 1.5046
    flags = np.zeros((ticks, 2), bool)
    for zone in range(2):
        at, up = 0, bool(rng.random() < up_h / (up_h + down_h))
        while at < ticks:
            span = max(1, int(rng.weibull(0.6) * scale * (up_h if up else down_h) / tick_h))
            flags[at : at + span, zone] = up
            at, up = at + span, not up
    price = np.full(flags.shape, share * ON_DEMAND_USD)
    return Trace(("a", "b"), ("r", "r"), tick_h, flags, price)


def traces() -> Iterator[tuple[str, Trace]]:
    """Name and trace; the recorded one zone by zone, and all zones together."""
    if RECORDED.exists():
        for zones in (["us-west-2a"], ["us-west-2b"], ["us-west-2c"], []):
            name = "recorded, one zone" if zones else "recorded, three zones"
            yield name, read_trace(RECORDED, ON_DEMAND_USD, zones, None, print)
    else:
        print(f"{RECORDED.name} is not there: synthetic traces only")
    for number, (name, terms) in enumerate(SYNTHETIC.items()):
        yield f"synthetic, {name}", synthetic(*terms, seed=number)


def compared() -> tuple[str, int]:
    """The table of costs against the least possible, and how many jobs were late.

    The safe least is of who knew the trace, and was sure of the deadline all the same.
    """
    ratios: dict[tuple[str, str], list[float]] = defaultdict(list)
    late = 0
    for name, trace in traces():
        for work_h in WORKS_H:
            for slack in SLACKS:
                for restart_h in RESTARTS_H:
                    terms = Terms(work_h, work_h * slack, ON_DEMAND_USD, restart_h, trace.tick_h)
                    if terms.deadline_h < work_h + restart_h:
                        continue
                    starts = draw_starts(trace, terms.deadline_h, STARTS, int(1000 * restart_h))
                    long = "6 min and more" if restart_h >= 0.1 else "72 s"
                    rows_of = (name, f"slack {slack:g}, restart {long}", "all")
                    for each in replay(trace, terms, starts, list(POLICIES)):
                        late += not each.in_time
                        told = {
                            each.policy: each.result.cost_usd / each.least_usd,
                            f"{each.policy}, safe": each.result.cost_usd / each.least_in_shell_usd,
                        }
                        if each.policy == "auto":
                            alone = replace(terms, overlaps=False)
                            run = play(trace, each.start, alone, Auto())
                            late += not is_in_time(run, alone)
                            told["auto, run"] = run.cost_usd / each.least_usd
                        for row, (column, ratio) in product(rows_of, told.items()):
                            ratios[row, column].append(ratio)
    rows = dict.fromkeys(row for row, _ in ratios)
    ordered = [*(row for row in rows if row != "all"), "all"]
    columns = [*POLICIES, "auto, safe", "auto, run"]
    last = ("auto, of the safe least", "auto, one machine at a time")
    head = ["cost against the least possible", "jobs", *POLICIES, *last]
    body = [
        [
            row,
            str(len(ratios[row, "auto"])),
            *(f"{geometric_mean(ratios[row, column]):.3f}" for column in columns),
        ]
        for row in ordered
    ]
    return table(head, body), late


def shaken() -> tuple[int, int, int]:
    """Jobs, those late, and those over their budget."""
    rng = np.random.default_rng(1)
    late = over = 0
    for number in range(JOBS):
        tick = float(rng.choice([0.05, 0.1, 0.25]))
        restart = float(rng.choice([0, 0.01, 0.05, 0.1, 0.13, 0.3, 0.5]))
        egress, work = float(rng.choice([0, 0.3])), float(rng.uniform(0.2, 4))
        deadline = work + restart + float(rng.choice([0, 1e-6, rng.uniform(0, 4)]))
        least = ON_DEMAND_USD * (work + restart) + egress
        budget = least + float(rng.choice([0, rng.uniform(0, 6)])) if rng.random() < 0.7 else None
        lost = float(rng.choice([0, 0.05, 0.2, 0.33]))
        overlaps = bool(rng.random() < 0.5)
        terms = Terms(work, deadline, ON_DEMAND_USD, restart, tick, lost, egress, budget, overlaps)
        shape = int(deadline / tick) + 3, int(rng.integers(1, 4))
        up = rng.random(shape) < rng.choice([0.1, 0.5, 0.9, 1])
        names = tuple(str(zone) for zone in range(shape[1]))
        regions = tuple(str(zone % 2) for zone in range(shape[1]))
        trace = Trace(names, regions, tick, up, rng.uniform(0.05, 1, shape) * ON_DEMAND_USD)
        played = play(trace, 0, terms, _shaking(number))
        late += not is_in_time(played, terms)
        over += budget is not None and played.cost_usd > budget + 1e-6
    return JOBS, late, over


def _shaking(number: int) -> Policy:
    """An erratic one in turn with the others; `auto` in every thirtieth job, as it has to think."""
    if number % 30 == 0:
        return Auto(lambda question: solve(replace(question, steps=30)))
    others = [name for name in POLICIES if name != "auto"]
    name = [None, *others][number % (len(others) + 1)]
    return Erratic(number) if name is None else POLICIES[name]()


def main() -> int:
    """Both, onto the page; 1 where a job was late or over its budget."""
    began = time.perf_counter()
    costs, late = compared()
    jobs, shaken_late, over = shaken()
    text = (
        f"{costs}\n\n"
        f"Late: {late} of these. Of {jobs:,} jobs more, erratic ones and the usual policies on "
        f"random traces: {shaken_late} late, {over} over their budget.\n\n"
        f"Geometric means. {datetime.now(UTC):%Y-%m-%d}, Python {sys.version.split()[0]}, "
        f"{time.perf_counter() - began:.0f} s in all; `make bench-spot` measures them anew."
    )
    print(text)
    PAGE.write_text(replace_block(PAGE.read_text(encoding="utf-8"), "spot", text), "utf-8")
    return 1 if late or shaken_late or over else 0


if __name__ == "__main__":
    sys.exit(main())
