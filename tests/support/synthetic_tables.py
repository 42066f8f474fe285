"""Measurements tables whose truth is a formula: jobs with a serial part and a need for memory."""

import csv
import math
from decimal import Decimal
from pathlib import Path

import numpy as np

from mlbroker.profiles.measurement import Measurement, Status

SIZES = {"large": 2, "xlarge": 4, "2xlarge": 8, "4xlarge": 16}
# GiB per vCPU, USD per vCPU-hour, speed.
FAMILIES = {"c9": (2.0, 0.040, 1.2), "m9": (4.0, 0.048, 1.0), "r9": (8.0, 0.063, 1.0)}


def synthetic_rows(seed: int = 0, families: int = 4, sisters: int = 2) -> list[Measurement]:
    """`families` x `sisters` jobs on twelve machines; some fail for want of memory."""
    rng = np.random.default_rng(seed)
    rows = []
    for family in range(families):
        serial, need_gib = rng.uniform(0.02, 0.6), rng.choice([1.0, 6.0, 24.0])
        for sister in range(sisters):
            scale = math.exp(rng.uniform(0, 4))
            for name, (per_vcpu, usd, speed) in FAMILIES.items():
                for size, vcpus in SIZES.items():
                    memory = per_vcpu * vcpus
                    time_s = 600 * scale / speed * (serial + (1 - serial) / vcpus)
                    rows.append(
                        Measurement(
                            job=f"job-{family}-{sister}",
                            config=f"{name}.{size}",
                            time_s=time_s * math.exp(rng.normal(0, 0.05)),
                            price_per_hour_usd=Decimal(f"{usd * vcpus:.4f}"),
                            group=f"family-{family}",
                            instance_type=f"{name}.{size}",
                            status=Status.FAILED if memory < need_gib else Status.OK,
                            features={"vcpus": float(vcpus), "memory_gib": memory},
                        )
                    )
    return rows


def write_table(path: Path, rows: list[Measurement]) -> Path:
    """The rows as a CSV file that `mlbroker backtest` reads."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                *("job", "group", "config", "time_s", "price_per_hour_usd", "status"),
                *("instance_type", "spec_vcpus", "spec_memory_gib"),
            ]
        )
        for row in rows:
            price = "" if row.price_per_hour_usd is None else row.price_per_hour_usd
            writer.writerow(
                [
                    *(row.job, row.group, row.config, row.time_s, price, row.status),
                    *(row.instance_type, row.features["vcpus"], row.features["memory_gib"]),
                ]
            )
    return path
