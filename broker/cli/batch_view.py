"""What batches are worth, as a person reads it: beside measurements, and under a plan."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlbroker.broker.batch_words import (
    another_batch_words,
    unknown_words,
    why_no_other_batch,
)
from mlbroker.broker.output import print_line, print_table
from mlbroker.broker.words import figure, span
from mlbroker.policies.planner.plan import Plan, WholeAt
from mlbroker.profiles.noise_seen import misfits

if TYPE_CHECKING:
    from mlbroker.broker.app.plan_batches import Batches
    from mlbroker.broker.measure.batches import AtBatch

COLUMNS = ("batch", "config", "s per step", "samples/s", "worth of one", "goodput/s", "lr x")
PLANNED = ("batch", "passes", "s per step", "whole job", "worth of one", "lr x", "basis")


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


def show_batches(plan: Plan, batches: "Batches", *, explain: bool) -> None:
    """Under a plan: what another batch would save, or what to measure to know; and, with reasons
    asked for, every batch on the machine of the choice, and why it is no larger.
    """
    job, free = plan.job, batches.free
    unknown = unknown_words(job, batches.seen)
    if unknown is not None:
        if plan.known:
            print_line(unknown)
        return
    best, known = plan.choice, plan.at_batches
    if free is not None:
        best, known = free.choice, free.at_batches
    if best is None or best.batch is None or job.batch is None:
        return
    said = None if free is None else another_batch_words(job, plan.choice, best)
    if said is not None:
        print_line(said)
    changes = said is not None or (free is None and best.batch.size != job.batch.size)
    if changes:
        # The same of each measurement, as a rule.
        for words in dict.fromkeys(
            word for row in batches.seen.rows for word in misfits(row.extra)
        ):
            print_line(words)
    if explain:
        _show_courses(best.instance_type, known)
        if why := why_no_other_batch(job.batch, best.batch, known):
            print_line(why)


def _show_courses(name: str, known: Sequence[WholeAt]) -> None:
    rows = [
        [
            f"{at.batch.size:,}",
            str(at.batch.passes),
            figure(at.step_s),
            span(at.whole_s),
            f"{at.batch.efficiency:.0%}",
            "" if at.batch.lr_scale is None else figure(at.batch.lr_scale),
            str(at.basis),
        ]
        for at in known
    ]
    title = f"At every batch that {name} is known to have memory for"
    print_table(PLANNED, rows, title=title, right=PLANNED[:-1])


def _worth(row: "AtBatch") -> list[str]:
    return ["" if row.efficiency is None else f"{row.efficiency:.0%}"]


def _rate(row: "AtBatch") -> str:
    return "" if row.lr_scale is None else figure(row.lr_scale)
