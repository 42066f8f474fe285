"""Plays the queue policies on a cluster's trace and on synthetic ones, into docs/benchmarks.md."""

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from markers import replace_block, table

from mlbroker.broker.backtest.queue_table import Draw, draw_columns, read_jobs
from mlbroker.broker.backtest.queues import compare, places_for, span_h
from mlbroker.policies.queue import POLICIES
from mlbroker.policies.queue.interface import Cloud
from mlbroker.policies.queue.replay import Site, TrueJob

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
EVAL = Path(os.environ.get("MLBROKER_EVAL", ROOT.parent / "shared" / "data" / "eval"))
RECORDED = EVAL / "queue" / "philly_dev.csv.gz"
# The size is a parameter: LOADS=0.9 DAYS=27:57 make bench-queue.
FIRST_DAY, LAST_DAY = os.environ.get("DAYS", "27:87").split(":")
DAYS = (float(FIRST_DAY), float(LAST_DAY))
SEED = int(os.environ.get("SEED", "2"))
DRAW = Draw(SEED, sigma=0.3, preemptible_share=0.7)
CLOUD = Cloud(3.06, 1 / 6)
RESTART_S = 120.0
LEAST_S, MOST_S = 30.0, 7 * 86_400.0
LOADS = tuple(float(load) for load in os.environ.get("LOADS", "0.7,0.9,1.1").split(","))


def synthetic(jobs: int, log_mean_h: float, log_sd: float, seed: int) -> list[TrueJob]:
    """Log-normal lengths, gangs of powers of two, submitted at random over a week."""
    lots = np.random.default_rng(seed)
    submits = np.sort(lots.uniform(0, 7 * 86_400, jobs))
    hours = lots.lognormal(log_mean_h, log_sd, jobs)
    gangs = lots.choice([1, 2, 4, 8, 16], jobs, p=[0.6, 0.15, 0.13, 0.1, 0.02])
    plain = [
        TrueJob(
            f"{n}", float(at), int(g), min(max(h * 3600, LEAST_S), MOST_S), None, 0.0, f"{n % 3}"
        )
        for n, (at, g, h) in enumerate(zip(submits, gangs, hours.tolist(), strict=True))
    ]
    return draw_columns(
        plain, ("deadline_s", "value_usd_per_h", "predicted_s", "preemptible"), DRAW
    )


def traces() -> Iterator[tuple[str, list[TrueJob], float, tuple[float, ...]]]:
    """Name, jobs, hours and loads."""
    if RECORDED.exists():
        jobs, _ = read_jobs(RECORDED, DAYS, DRAW, print, held_to_s=(LEAST_S, MOST_S))
        yield "recorded", jobs, span_h(jobs, DAYS), LOADS
    else:
        print(f"{RECORDED.name} is not there: synthetic traces only")
    yield "synthetic, many short", synthetic(3_000, -1.5, 1.5, 1), 168.0, (0.9,)
    yield "synthetic, few long", synthetic(1_000, 0.5, 1.5, 2), 168.0, (0.9,)


def played(task: tuple[list[TrueJob], Site, str]) -> dict[str, Any]:
    """One policy's figures."""
    jobs, site, policy = task
    figures: dict[str, Any] = compare(jobs, site, [policy])["summary"][policy]
    return figures


def main() -> int:
    """All policies on all traces, onto the page; 1 where the targets are missed."""
    began = time.perf_counter()
    rows, missed = [], []
    for name, jobs, hours, loads in traces():
        for load in loads:
            site = Site(places_for(jobs, load, hours), RESTART_S, CLOUD)
            alone = [(jobs, site, policy) for policy in POLICIES]
            with ProcessPoolExecutor() as pool:
                summary = dict(zip(POLICIES, pool.map(played, alone), strict=True))
            cost = {
                policy: row["waiting_usd"] + row["cloud_usd"] for policy, row in summary.items()
            }
            for policy, row in summary.items():
                hits = row["deadline_hit_rate"]
                rows.append(
                    [
                        f"{name}, load {load:g}, {site.places} places",
                        policy,
                        f"{row['mean_wait_h']:.2f}",
                        f"{row['p99_wait_h']:.1f}",
                        f"{hits:.2%}",
                        f"{row['waiting_usd']:,.0f}",
                        f"{row['cloud_usd']:,.0f}",
                        f"{cost[policy] / cost['auto']:.2f}",
                        f"{row['utilisation']:.1%}",
                        f"{row['preemptions_per_job']:.2f}",
                    ]
                )
                print("  ".join(rows[-1]), flush=True)
            if name == "recorded":
                missed += _missed(load, cost, summary["auto"]["deadline_hit_rate"])
    head = [
        "trace", "policy", "mean wait, h", "p99, h", "in time", "waiting, USD", "cloud, USD",
        "cost over auto's", "used", "preemptions a job",
    ]  # fmt: skip
    said = "All targets are reached." if not missed else "Missed: " + "; ".join(missed) + "."
    text = (
        f"{table(head, rows)}\n\n{said}\n\n"
        f"Seed {SEED}, days {FIRST_DAY} to {LAST_DAY}. {datetime.now(UTC):%Y-%m-%d}, "
        f"Python {sys.version.split()[0]}, "
        f"{time.perf_counter() - began:.0f} s in all; `make bench-queue` measures them anew."
    )
    print(said)
    PAGE.write_text(replace_block(PAGE.read_text(encoding="utf-8"), "queue", text), "utf-8")
    return 1 if missed else 0


def _missed(load: float, cost: dict[str, float], hits: float) -> Iterator[str]:
    """Cost of waiting and cloud against the usual engine's and preemptive SRPT's; deadlines."""
    bounds = [("multifactor-easy", 0.1)]
    bounds += [("srpt", most) for at, most in ((0.7, 0.5), (0.9, 0.75)) if at == load]
    for policy, most in bounds:
        ratio = cost["auto"] / cost[policy]
        if ratio > most:
            yield f"load {load:g}: {ratio:.3f} of {policy}'s cost, at most {most:g}"
    if load == 0.9 and hits < 0.99:
        yield f"load {load:g}: {hits:.2%} in time, at least 99 %"


if __name__ == "__main__":
    sys.exit(main())
