"""Reads a cluster's trace: what was submitted when, how large it was, how long it took."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.cells import Cells, column_places
from mlbroker.broker.files.tables import open_table, refuse_what_is_no_file
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.broker.words import count
from mlbroker.policies.queue.replay import TrueJob

REQUIRED = ("submit_s", "gpus", "duration_s", "vc")
OPTIONAL = ("deadline_s", "value_usd_per_h", "predicted_s", "preemptible")

# What no trace has is drawn so, for want of anything published.
DEADLINE_SHARE = 0.4
DEADLINE_FACTORS = (1.2, 3.2)
DEADLINE_LEAST_S = 1_800.0
VALUES_USD_PER_H = (10.0, 1.0, 0.2)
VALUE_SHARES = (0.1, 0.6, 0.3)
VALUE_WITH_DEADLINE_USD_PER_H = 0.2

_YES, _NO = ("1", "true", "yes"), ("0", "false", "no")


@dataclass(frozen=True, slots=True)
class Draw:
    """How columns that a table lacks are drawn: `sigma` is of the log of the predictions' error."""

    seed: int
    sigma: float
    preemptible_share: float


def read_jobs(
    path: Path,
    days: tuple[float, float] | None,
    draw: Draw,
    report: Callable[[str], None],
    held_to_s: tuple[float, float] = (0.0, math.inf),
) -> tuple[list[TrueJob], tuple[str, ...]]:
    """The jobs submitted within the days, and the columns that were drawn.

    Durations are held to a least and a most.
    InputError names file, line and column of what cannot be.
    """
    refuse_what_is_no_file(path)
    with open_table(path, strict=True) as (names, rows):
        places = column_places(path, names, REQUIRED, OPTIONAL)
        read = [_row(Cells(path, line, cells, places)) for line, cells in rows]
    if not read:
        raise InputError("the table has no jobs", where=str(path))
    least_s, most_s = held_to_s
    jobs = [
        job._replace(duration_s=min(max(job.duration_s, least_s), most_s))
        for job in read
        if days is None or _within(job, days)
    ]
    if not jobs:
        raise InputError("no job was submitted within these days", where="--days")
    drawn = tuple(name for name in OPTIONAL if name not in places)
    jobs = draw_columns(jobs, drawn, draw)
    late = sum(job.deadline_s is not None and job.deadline_s < job.submit_s for job in jobs)
    if late:
        report(f"{path}: {count(late, 'deadline')} before the job's submission: nobody meets such")
    return jobs, drawn


def _within(job: TrueJob, days: tuple[float, float]) -> bool:
    return days[0] * 86_400 <= job.submit_s < days[1] * 86_400


def _row(cells: Cells) -> TrueJob:
    flag = (cells.text("preemptible") or _YES[0]).lower()
    if flag not in _YES + _NO:
        raise cells.wrong("preemptible", f"{quoted(flag)} is not 0 or 1")
    value = cells.needed("value_usd_per_h") if "value_usd_per_h" in cells.places else 0.0
    return TrueJob(
        id=f"line {cells.line}",
        submit_s=cells.needed("submit_s"),
        places=cells.whole("gpus", above=0),
        duration_s=cells.needed("duration_s", above=0),
        predicted_s=cells.number("predicted_s", above=0),
        value_usd_per_h=value,
        team=cells.text("vc") or "",
        deadline_s=cells.number("deadline_s"),
        preemptible=flag in _YES,
    )


def draw_columns(jobs: list[TrueJob], lacking: Sequence[str], draw: Draw) -> list[TrueJob]:
    """Each column from lots of its own: one that is there changes nothing about the others."""
    if "deadline_s" in lacking:
        lots = np.random.default_rng([draw.seed, 0])
        some = lots.random(len(jobs)) < DEADLINE_SHARE
        factors = lots.uniform(*DEADLINE_FACTORS, len(jobs))
        jobs = [
            job._replace(deadline_s=_deadline_s(job, float(factor)) if has else None)
            for job, has, factor in zip(jobs, some, factors, strict=True)
        ]
    if "value_usd_per_h" in lacking:
        values = np.random.default_rng([draw.seed, 1]).choice(
            VALUES_USD_PER_H, len(jobs), p=VALUE_SHARES
        )
        jobs = [
            job._replace(
                value_usd_per_h=float(value)
                if job.deadline_s is None
                else VALUE_WITH_DEADLINE_USD_PER_H
            )
            for job, value in zip(jobs, values, strict=True)
        ]
    if "predicted_s" in lacking:
        errors = np.random.default_rng([draw.seed, 2]).normal(0, draw.sigma, len(jobs))
        jobs = [
            job._replace(predicted_s=job.duration_s * math.exp(error))
            for job, error in zip(jobs, errors.tolist(), strict=True)
        ]
    if "preemptible" in lacking:
        lots = np.random.default_rng([draw.seed, 3])
        flags = lots.random(len(jobs)) < draw.preemptible_share
        jobs = [
            job._replace(preemptible=flag) for job, flag in zip(jobs, flags.tolist(), strict=True)
        ]
    return jobs


def _deadline_s(job: TrueJob, factor: float) -> float:
    return job.submit_s + max(job.duration_s * factor, job.duration_s + DEADLINE_LEAST_S)
