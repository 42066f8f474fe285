"""What batches are worth, as a person reads it: beside measurements, and under a plan."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlbroker.broker.output import print_line, print_table
from mlbroker.broker.words import figure, span
from mlbroker.profiles.job import Job

if TYPE_CHECKING:
    from mlbroker.broker.measure.batches import AtBatch

COLUMNS = ("batch", "config", "s per step", "samples/s", "worth of one", "goodput/s", "lr x")
WHOLE = ("batch", "config", "whole job", "worth of one", "lr x")


def show_measured(found: "Sequence[AtBatch]") -> None:
    """The steps at each batch, and what they are worth; nothing where none was measured."""
    if not found:
        return
    rows = [
        [
            f"{row.batch:,}",
            row.config,
            figure(row.step_s),
            figure(row.samples_per_s),
            *_worth(row),
            "" if row.goodput is None else figure(row.goodput),
            _rate(row),
        ]
        for row in found
    ]
    print_table(COLUMNS, rows, right=[name for name in COLUMNS if name != "config"])


def show_planned(job: Job, found: "Sequence[AtBatch]", steps: int | None, *, explain: bool) -> None:
    """How long the whole job would take at each batch that was measured, and why none is larger."""
    known = [row for row in found if row.goodput is not None]
    if not known or job.batch is None or steps is None:
        return
    rows = []
    for row in known:
        # So many samples of the job's own batch are there to be worked off.
        whole_s = steps * job.batch.size / (row.goodput or 1)
        rows.append([f"{row.batch:,}", row.config, span(whole_s), *_worth(row), _rate(row)])
    title = "At other batches, by measured steps and noise"
    print_table(WHOLE, rows, title=title, right=[name for name in WHOLE if name != "config"])
    if explain:
        print_line(_why_not_larger(job, known))


def _why_not_larger(job: Job, known: "Sequence[AtBatch]") -> str:
    assert job.batch is not None  # who shows batches has one
    most = job.batch.most
    best = max(known, key=lambda row: row.goodput or 0)
    larger = [row for row in known if row.config == best.config and row.batch > best.batch]
    if larger:
        row = larger[0]
        slower = (best.goodput or 1) / (row.goodput or 1)
        return (
            f"Why not larger than {best.batch:,}: at {row.batch:,} a step takes"
            f" {row.step_s / best.step_s:.3g}x as long, a sample is worth"
            f" {row.efficiency or 0:.0%}, and all of it takes {slower:.3g}x as long."
        )
    if best.batch == most:
        return f"Why not larger than {most:,}: the job file allows no more, `max: {most}`."
    return f"Larger than {best.batch:,} was not measured: mlbroker profile JOB --batch {most}"


def _worth(row: "AtBatch") -> list[str]:
    return ["" if row.efficiency is None else f"{row.efficiency:.0%}"]


def _rate(row: "AtBatch") -> str:
    return "" if row.lr_scale is None else figure(row.lr_scale)
