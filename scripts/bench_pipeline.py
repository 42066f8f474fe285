"""Holds the optimiser of pipelines to brute force, to its confidence and to the clock.

CASES=1000 small graphs, SIZE=50 and OPTIONS=1000 of the large ones; figures on stdout and into
docs/benchmarks.md.
"""

import math
import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from markers import replace_block, table
from tests.support.pipelines import brute_force, random_problem

from mlbroker.broker.quiet import nothing_on_stdout
from mlbroker.policies.pipeline.interface import Problem
from mlbroker.policies.pipeline.schedule import Simulator
from mlbroker.policies.pipeline.solve import solve

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
CASES = int(os.environ.get("CASES", "1000"))
SIZE = int(os.environ.get("SIZE", "50"))
OPTIONS = int(os.environ.get("OPTIONS", "1000"))
SEEDS = (1, 2, 3)


def _large(seed: int) -> list[list[str]]:
    """Rows about one large pipeline: with its deadline alone, and with its budget too."""
    problem = random_problem(seed, stages=SIZE, options=OPTIONS, confidence=0.9)
    rows = [_row(seed, replace(problem, budget_usd=None))]
    return rows if problem.budget_usd is None else [*rows, _row(seed, problem)]


def _row(seed: int, problem: Problem) -> list[str]:
    began = time.process_time()
    with nothing_on_stdout():
        solution = solve(problem, 10, time.perf_counter)
    seconds = time.process_time() - began
    if solution.selection is None:
        how = "none found in time" if solution.timed_out else "none keeps the limits"
    else:
        how = "no bound" if math.isinf(solution.gap) else f"gap {solution.gap:.3%}"
    limits = "deadline" if problem.budget_usd is None else "deadline and budget"
    what = f"{SIZE} stages of {OPTIONS} options, draw {seed}, {limits}: processor seconds"
    target = "3 s, 0.1 %" if (SIZE, OPTIONS) == (50, 1000) else ""
    return [what, f"{seconds:.1f}, {how}", target]


def main() -> int:
    """All figures, onto the page."""
    equal = late = 0
    for seed in range(CASES):
        problem = random_problem(seed)
        found, best = solve(problem).selection, brute_force(problem)
        same = found is None if best is None else found and found.score <= best.score * (1 + 1e-9)
        equal += bool(same)
        if found is not None and problem.deadline_s is not None:
            chance = Simulator(problem, seed=seed + 1).selection(found.picks).chance or 0.0
            late += chance < problem.confidence - 0.01
    rows = [
        ["equal to brute force", f"{equal} of {CASES}", "all"],
        ["in time less often than asked by over 0.01, other draws", f"{late}", "0"],
    ]
    for seed in SEEDS:
        rows += _large(seed)
    told = f"{datetime.now(UTC):%Y-%m-%d}, CASES={CASES} SIZE={SIZE} OPTIONS={OPTIONS}"
    text = table(["what", "measured", "target"], rows) + f"\n{told}; `make bench-pipeline`."
    print(text)
    PAGE.write_text(replace_block(PAGE.read_text("utf-8"), "pipeline", text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
