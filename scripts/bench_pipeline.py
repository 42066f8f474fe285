"""Holds the optimiser of pipelines to brute force, to its confidence and to the clock.

CASES=1000 small graphs, SIZE=50 and OPTIONS=1000 of the large ones, MOST=300 stages of the largest;
CHAINS=40 for the saving; figures on stdout and into docs/benchmarks.md.
"""

import math
import os
import statistics
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from markers import replace_block, table
from tests.support.pipelines import brute_force, random_problem

from mlbroker.broker.quiet import nothing_on_stdout
from mlbroker.policies.pipeline.interface import Problem
from mlbroker.policies.pipeline.schedule import Simulator, cost_of, least_z
from mlbroker.policies.pipeline.solve import solve

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
CASES = int(os.environ.get("CASES", "1000"))
SIZE = int(os.environ.get("SIZE", "50"))
OPTIONS = int(os.environ.get("OPTIONS", "1000"))
MOST = int(os.environ.get("MOST", "300"))
CHAINS = int(os.environ.get("CHAINS", "40"))
SEEDS = (1, 2, 3)


def _large(seed: int) -> list[list[str]]:
    """Rows about one large pipeline: with its deadline alone, and with its budget too."""
    problem = random_problem(seed, stages=SIZE, options=OPTIONS, confidence=0.9)
    rows = [_row(seed, replace(problem, budget_usd=None))]
    return rows if problem.budget_usd is None else [*rows, _row(seed, problem)]


def _largest() -> list[str]:
    problem = random_problem(SEEDS[1], stages=MOST, options=OPTIONS, confidence=0.9)
    return _row(SEEDS[1], replace(problem, budget_usd=None), seconds_given=30)


def _each_in_its_share(problem: Problem) -> list[int]:
    """Each stage alone: the cheapest option that keeps, at the confidence asked for, the share of
    the deadline that its quickest time is of the longest path through it; else the quickest.
    """
    quick = [min(option.mean_s for option in stage.options) for stage in problem.stages]
    up, down = list(quick), list(quick)
    for n in problem.order:
        up[n] += max((up[before] for before in problem.stages[n].needs), default=0.0)
    for n in reversed(problem.order):
        down[n] += max((down[after] for after in problem.followers[n]), default=0.0)
    z, deadline_s = least_z(problem.confidence), problem.deadline_s or math.inf
    picks = []
    for n, stage in enumerate(problem.stages):
        share_s = deadline_s * quick[n] / (up[n] + down[n] - quick[n])
        known = list(enumerate(stage.options))
        fits = [(o.cost_usd, k) for k, o in known if o.mean_s + z * o.sd_s <= share_s]
        picks.append(min(fits or [(o.mean_s, k) for k, o in known])[1])
    return picks


def _savings() -> list[list[str]]:
    """How much dearer each stage alone within its share is than the choice for all."""
    found: dict[str, list[float]] = {"chains": [], "graphs": []}
    for seed in range(CHAINS):
        problem = replace(random_problem(seed, stages=12, options=20), budget_usd=None)
        best = solve(problem, 10, time.perf_counter).selection
        if best is None:
            continue
        chain = all(
            stage.needs == ((n - 1,) if n else ()) for n, stage in enumerate(problem.stages)
        )
        alone = _each_in_its_share(problem)
        options = [s.options[pick] for s, pick in zip(problem.stages, alone, strict=True)]
        found["chains" if chain else "graphs"].append(cost_of(problem, options) / best.cost_usd)
    return [
        [
            f"each alone within its share of the deadline, over the choice for all: {len(ratios)}"
            f" {name} of 12 stages and 20 options, median (least to most)",
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
            "",
        ]
        for name, ratios in found.items()
        if ratios
    ]


def _row(seed: int, problem: Problem, seconds_given: float = 10) -> list[str]:
    began = time.process_time()
    with nothing_on_stdout():
        solution = solve(problem, seconds_given, time.process_time)
    seconds = time.process_time() - began
    if solution.selection is None:
        how = "none found in time" if solution.timed_out else "none keeps the limits"
    else:
        how = "no bound" if math.isinf(solution.gap) else f"gap {solution.gap:.3%}"
    size = len(problem.stages)
    limits = "deadline" if problem.budget_usd is None else "deadline and budget"
    what = f"{size} stages of {OPTIONS} options, draw {seed}, {limits}: processor seconds"
    target = {50: "3 s, 0.1 %", 300: "30 s"}.get(size, "") if OPTIONS == 1000 else ""
    return [what, f"{seconds:.1f}, {how}", target]


def main() -> int:
    """All figures, onto the page."""
    equal = late = 0
    beyond: dict[float, list[float]] = {}
    for seed in range(CASES):
        problem = random_problem(seed)
        found, best = solve(problem).selection, brute_force(problem)
        same = found is None if best is None else found and found.score <= best.score * (1 + 1e-9)
        equal += bool(same)
        if found is not None and problem.deadline_s is not None:
            chance = Simulator(problem, seed=seed + 1).selection(found.picks).chance or 0.0
            late += chance < problem.confidence - 0.01
            beyond.setdefault(problem.confidence, []).append(chance)
    rows = [
        ["equal to brute force", f"{equal} of {CASES}", "all"],
        ["in time less often than asked by over 0.01, other draws", f"{late}", "0"],
    ]
    for confidence, chances in sorted(beyond.items()):
        told = f"least {min(chances):.3f}, mean {statistics.fmean(chances):.3f}"
        rows.append([f"in time at confidence {confidence:g}, 8,192 other draws", told, ""])
    rows += _savings()
    for seed in SEEDS:
        rows += _large(seed)
    rows += [_largest()] if MOST else []
    sizes = f"CASES={CASES} SIZE={SIZE} OPTIONS={OPTIONS} MOST={MOST} CHAINS={CHAINS}"
    told = f"{datetime.now(UTC):%Y-%m-%d}, {sizes}"
    text = table(["what", "measured", "target"], rows) + f"\n{told}; `make bench-pipeline`."
    print(text)
    PAGE.write_text(replace_block(PAGE.read_text("utf-8"), "pipeline", text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
