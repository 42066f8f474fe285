"""How far data sheets alone carry a time from one measured machine to another, on real tables.

For CPU types of the price book: each job is scaled from five machines, drawn by a fixed seed, to
all others. Writes the figures into docs/benchmarks.md.
"""

import math
import random
import statistics
import sys
import tempfile
from pathlib import Path

from bench_choosing import PAGE, table_files
from markers import replace_block

from mlbroker.broker.measure.table import read_measurements
from mlbroker.broker.planning import fill_hardware
from mlbroker.broker.prices.store import open_book
from mlbroker.profiles.estimators import datasheet
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Z90, Evidence, Target

TABLE = "sparecores_aws"
STARTS = 5


def errors(start: Measurement, rows: list[Measurement]) -> list[tuple[float, float]]:
    """(|log error|, predicted spread) of every other machine's time, told from one machine's."""
    others = [row for row in rows if row is not start]
    targets = [
        Target("aws", row.instance_type or row.config, row.hardware)
        for row in others
        if row.hardware is not None
    ]
    told = datasheet.estimate(Evidence(Job(start.job, ""), [start]), targets)
    return [
        (abs(math.log(row.time_s / found.median_step_time_s)), found.sigma_log)
        for row, found in zip(others, told, strict=True)
        if found is not None
    ]


def main() -> int:
    """Scale, count, write."""
    files = table_files()
    if not files:
        return 0
    with tempfile.TemporaryDirectory() as home:
        rows = fill_hardware(open_book(Path(home)), list(read_measurements(files[TABLE])))
    by_job: dict[str, list[Measurement]] = {}
    for row in rows:
        if row.status == "ok" and row.hardware is not None and row.hardware.gpu is None:
            by_job.setdefault(row.job, []).append(row)
    rng = random.Random(1)  # a drawing lot, not a secret
    pairs = [
        pair
        for mine in by_job.values()
        for start in rng.sample(mine, min(STARTS, len(mine)))
        for pair in errors(start, mine)
    ]
    held = statistics.fmean(error <= Z90 * sigma for error, sigma in pairs)
    median = statistics.median(error for error, _ in pairs)
    text = (
        f"Scaled by data sheets alone from one measured machine to another ({TABLE}, "
        f"{len(pairs):,} pairs of CPU types), half of the times are within a factor of "
        f"{math.exp(median):.1f}, and 80 % intervals hold {held:.0%}."
    )
    print(text)
    PAGE.write_text(replace_block(PAGE.read_text(encoding="utf-8"), "paper", text), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
