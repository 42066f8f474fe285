"""How far times of one or two measured machines carry to others, on real tables, without past jobs.

For CPU types of the price book: each job is scaled by data sheet from five machines, drawn by a
fixed seed, to all others, and predicted for them from five pairs. Inference of language models,
the one kind of job there that uses a GPU, is also scaled from CPU types to machines with one GPU.
Writes the figures into docs/benchmarks.md.
"""

import math
import random
import re
import statistics
import sys
from dataclasses import replace

from bench_choosing import PAGE, table_files, table_rows
from markers import replace_block

from mlbroker.pricing.offer import Hardware
from mlbroker.profiles.estimators import datasheet, transfer
from mlbroker.profiles.estimators.interface import Estimator
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Z90, Evidence, Target

TABLE = "sparecores_aws"
DRAWS = 5
# Sizes of prompts and of answers, in the names of the jobs that use a GPU, and GPUs they can use.
GPU_JOBS = re.compile(r"/(prompt|gen)\d+$")
GPUS = ("A10G", "A100", "L4", "M60", "RTXPRO", "T4", "V100")


def errors(
    estimator: Estimator, seen: list[Measurement], rows: list[Measurement]
) -> list[tuple[float, float]]:
    """(|log error|, predicted spread) of every other machine's time, told from those seen."""
    others = [row for row in rows if row not in seen]
    targets = [
        Target("aws", row.instance_type or row.config, row.hardware)
        for row in others
        if row.hardware is not None
    ]
    told = estimator.estimate(Evidence(Job(seen[0].job, ""), seen), targets)
    return [
        (abs(math.log(row.time_s / found.median_step_time_s)), found.sigma_log)
        for row, found in zip(others, told, strict=True)
        if found is not None
    ]


def one_usable_gpu(hardware: Hardware) -> bool:
    """Whether it has one GPU, or a share of one, that such programs run on."""
    gpu = hardware.gpu
    return gpu is not None and gpu.model.startswith(GPUS) and hardware.gpu_count <= 1


def words(pairs: list[tuple[float, float]]) -> str:
    """What half of the times are within, and what the intervals reach and hold."""
    held = statistics.fmean(error <= Z90 * sigma for error, sigma in pairs)
    within, reach = (math.exp(statistics.median(column)) for column in zip(*pairs, strict=True))
    return (
        f"half of the times are within a factor of {within:.1f}, and 80 % intervals, usually a"
        f" factor of {reach**Z90:.1f}, hold {held:.0%}"
    )


def main() -> int:
    """Scale, count, write."""
    files = table_files()
    if not files:
        return 0
    rows = table_rows(files[TABLE])
    by_job: dict[str, list[Measurement]] = {}
    on_gpu: dict[str, list[Measurement]] = {}
    for row in rows:
        if row.status != "ok" or row.hardware is None:
            continue
        if row.hardware.gpu is None:
            by_job.setdefault(row.job, []).append(row)
        elif GPU_JOBS.search(row.job) and one_usable_gpu(row.hardware):
            on_gpu.setdefault(row.job, []).append(row)
    rng = random.Random(1)  # a drawing lot, not a secret
    single, double = (
        [
            pair
            for mine in by_job.values()
            for _ in range(DRAWS)
            for pair in errors(estimator, rng.sample(mine, count), mine)
        ]
        for estimator, count in ((datasheet, 1), (transfer, 2))
    )
    crossing = [
        pair
        for job, rows in on_gpu.items()
        for _ in range(DRAWS)
        for pair in errors(datasheet, [replace(rng.choice(by_job[job]), gpu_used=True)], rows)
    ]
    text = (
        f"Scaled by data sheets alone from one measured machine to another ({TABLE}, "
        f"{len(single):,} pairs of CPU types), {words(single)}.\n"
        f"Predicted from two measured machines, without past jobs, {words(double)}.\n"
        f"Scaled by data sheets from a CPU type to machines with one GPU, for inference of language"
        f" models ({len(crossing):,} pairs), {words(crossing)}."
    )
    print(text)
    PAGE.write_text(replace_block(PAGE.read_text(encoding="utf-8"), "paper", text), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
