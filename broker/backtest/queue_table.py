"""Reads a cluster's trace: what was submitted when, how large it was, how long it took."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlbroker.broker.errors import InputError
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
_MOST = 1e12


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
        if missing := [name for name in REQUIRED if name not in names]:
            hint = f"columns: {', '.join(REQUIRED)}; optional: {', '.join(OPTIONAL)}"
            raise InputError(f"there is no column {missing[0]}", where=str(path), hint=hint)
        if twice := [name for name in (*REQUIRED, *OPTIONAL) if names.count(name) > 1]:
            raise InputError(f"there are two columns {twice[0]}", where=str(path))
        places = {name: names.index(name) for name in (*REQUIRED, *OPTIONAL) if name in names}
        read = [_row(_Cells(path, line, cells, places)) for line, cells in rows]
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


@dataclass(frozen=True, slots=True)
class _Cells:
    path: Path
    line: int
    cells: Sequence[str]
    places: Mapping[str, int]

    def text(self, column: str) -> str | None:
        """None where the table has no such column."""
        if column not in self.places:
            return None
        at = self.places[column]
        if at >= len(self.cells):
            raise self.wrong(column, "the cell is missing")
        return self.cells[at].strip()

    def number(self, column: str, above: float | None = None) -> float | None:
        """Zero or more, or more than `above`; None where there is none."""
        text = self.text(column)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value < _MOST or (above is not None and value <= above):
            least = "zero or more" if above is None else f"more than {above:g}"
            raise self.wrong(column, f"{quoted(text)} is not a number of {least}")
        return value

    def needed(self, column: str, above: float | None = None) -> float:
        """The same, which must be there."""
        value = self.number(column, above)
        if value is None:
            raise self.wrong(column, "the cell is empty")
        return value

    def wrong(self, column: str, what: str) -> InputError:
        """What a cell has wrong, and where it is."""
        return InputError(what, where=f"{self.path}, line {self.line}, column {column}")


def _row(cells: _Cells) -> TrueJob:
    gpus = cells.needed("gpus", above=0)
    if gpus != int(gpus):
        raise cells.wrong("gpus", f"{gpus:g} is not a whole number")
    flag = (cells.text("preemptible") or _YES[0]).lower()
    if flag not in _YES + _NO:
        raise cells.wrong("preemptible", f"{quoted(flag)} is not 0 or 1")
    value = cells.needed("value_usd_per_h") if "value_usd_per_h" in cells.places else 0.0
    return TrueJob(
        id=f"line {cells.line}",
        submit_s=cells.needed("submit_s"),
        places=int(gpus),
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
