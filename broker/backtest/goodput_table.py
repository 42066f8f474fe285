"""Reads measured training: step times by machines and batch, convergence by batch and epoch.

The columns are those of docs/adaptive.md; what stands beside them is ignored.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.cells import Cells, column_places
from mlbroker.broker.files.tables import open_table, refuse_what_is_no_file
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.policies.adapt.interface import Machines
from mlbroker.policies.adapt.training import StepTimes, Training, candidates
from mlbroker.profiles.step_model import Layout

STEPS = (
    "job", "gpu", "instance_type", "nodes", "gpus", "local_batch", "step_time_s", "sync_time_s",
    "price_per_hour_usd",
)  # fmt: skip
EPOCHS = (
    "job", "default_batch", "restart_s", "batch_size", "epoch", "iteration", "progress",
    "grad_sqr", "grad_var",
)  # fmt: skip
Row = TypeVar("Row")
OPTIONAL = ("placement",)
# Squared norms of gradients are large numbers in some models.
_MOST_NORM = 1e300
_MOST_EPOCHS, _MOST_ROWS = 10_000, 1_000_000


class _Step(NamedTuple):
    line: int
    job: str
    layout: Layout
    instance_type: str
    local_batch: int
    step_s: float
    sync_s: float
    price: float


class _Epoch(NamedTuple):
    line: int
    job: str
    default_batch: int
    restart_s: float
    batch: int
    epoch: int
    iteration: float
    progress: float
    noise: float


@dataclass(frozen=True, slots=True)
class _Table:
    """A file's path, and how its errors are said."""

    path: Path

    def wrong(self, line: int, what: str, hint: str | None = None) -> InputError:
        return InputError(what, where=f"{self.path}, line {line}", hint=hint)


def read_trainings(
    steps: Path, epochs: Path, report: Callable[[str], None]
) -> tuple[Training, ...]:
    """The jobs that both tables have, in the order of the second.

    A job that one of them lacks is left out, and said to be. InputError names file, line and
    column of what cannot be.
    """
    by_job: dict[str, list[_Step]] = defaultdict(list)
    for step in _read(steps, STEPS, _step):
        by_job[step.job].append(step)
    courses: dict[str, list[_Epoch]] = defaultdict(list)
    for epoch in _read(epochs, EPOCHS, _epoch):
        courses[epoch.job].append(epoch)
    for lacking, path in ((by_job.keys() - courses.keys(), epochs),
                          (courses.keys() - by_job.keys(), steps)):  # fmt: skip
        for name in sorted(lacking):
            report(f"{path}: there is nothing of job {quoted(name)}: it is left out")
    both = [name for name in courses if name in by_job]
    if not both:
        raise InputError(f"no job of it is in {epochs}", where=str(steps))
    return tuple(_training(steps, epochs, by_job[name], courses[name], report) for name in both)


def _read(path: Path, columns: Sequence[str], read: Callable[[Cells], Row]) -> list[Row]:
    refuse_what_is_no_file(path)
    with open_table(path, strict=True) as (names, rows):
        places = column_places(path, names, columns, OPTIONAL)
        found = []
        for line, cells in rows:
            found.append(read(Cells(path, line, cells, places)))
            if len(found) > _MOST_ROWS:
                raise InputError(f"more than {_MOST_ROWS:,} rows", where=str(path))
    if not found:
        raise InputError("the table has no rows", where=str(path))
    return found


def _step(cells: Cells) -> _Step:
    layout = Layout(
        cells.name("gpu"),
        cells.whole("nodes", above=0),
        cells.whole("gpus", above=0),
        cells.text("placement") or "",
    )
    if layout.gpus < layout.nodes:
        raise cells.wrong("gpus", f"{layout.gpus} GPUs on {layout.nodes} nodes")
    return _Step(
        cells.line,
        cells.name("job"),
        layout,
        cells.name("instance_type"),
        cells.whole("local_batch", above=0),
        cells.needed("step_time_s", above=0),
        cells.needed("sync_time_s"),
        cells.needed("price_per_hour_usd", above=0),
    )


def _epoch(cells: Cells) -> _Epoch:
    norms = Cells(cells.path, cells.line, cells.cells, cells.places, _MOST_NORM)
    default = cells.whole("default_batch", above=0)
    # φ: below zero, infinite or not a number it says nothing, and neither does the row.
    noise = default * norms.needed("grad_var", above=0) / norms.needed("grad_sqr", above=0)
    if not 0 < noise < math.inf:
        raise cells.wrong("grad_var", f"a noise scale of {noise:g} samples is none")
    return _Epoch(
        cells.line,
        cells.name("job"),
        default,
        cells.needed("restart_s"),
        cells.whole("batch_size", above=0),
        cells.whole("epoch", above=0),
        cells.needed("iteration", above=0),
        cells.needed("progress", above=0),
        noise,
    )


def _training(
    steps: Path,
    epochs: Path,
    rows: Sequence[_Step],
    course: Sequence[_Epoch],
    report: Callable[[str], None],
) -> Training:
    first = course[0]
    times = _times(_Table(steps), rows)
    for row in course:
        if (row.default_batch, row.restart_s) != (first.default_batch, first.restart_s):
            what = f"default_batch or restart_s of job {quoted(row.job)} differ from those before"
            raise _Table(epochs).wrong(row.line, what)
    batches, ends, noise = _course(_Table(epochs), first, course, report)
    taken = np.diff(ends, axis=2, prepend=0.0)
    iterations, progress = taken
    # Progress is counted in steps at the default batch: an epoch of another batch that got a
    # little farther took that much longer.
    at_default = batches.index(first.default_batch)
    needed = iterations * progress[at_default] / progress
    _refuse_without_anchor(steps, first, times, batches[-1])
    return Training(
        first.job, first.default_batch, first.restart_s, times, np.array(batches), needed, noise
    )


def _times(table: _Table, rows: Sequence[_Step]) -> tuple[StepTimes, ...]:
    by_machines: dict[tuple[Layout, str], list[_Step]] = defaultdict(list)
    for row in rows:
        by_machines[row.layout, row.instance_type].append(row)
    found = []
    for (layout, instance_type), mine in sorted(by_machines.items()):
        mine = sorted(mine, key=lambda row: row.local_batch)
        for before, row in pairwise(mine):
            if row.local_batch == before.local_batch:
                at = max(row, before, key=lambda one: one.line)
                raise table.wrong(at.line, f"local batch {row.local_batch} is there twice")
            if row.price != before.price:
                at = max(row, before, key=lambda one: one.line)
                raise table.wrong(at.line, "the same machines have another price further up")
        machines = Machines(
            layout, instance_type, mine[0].price, mine[0].local_batch, mine[-1].local_batch
        )
        found.append(
            StepTimes(
                machines,
                np.array([float(row.local_batch) for row in mine]),
                np.array([row.step_s for row in mine]),
                np.array([row.sync_s for row in mine]),
            )
        )
    return tuple(found)


def _course(
    table: _Table, first: _Epoch, rows: Sequence[_Epoch], report: Callable[[str], None]
) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Batches, then iteration and progress at each epoch's end (2, batches, epochs), and φ.

    A batch that was trained for fewer epochs than the default one is left out, and said to be.
    """
    by_batch: dict[int, dict[int, _Epoch]] = defaultdict(dict)
    for row in rows:
        if row.epoch in by_batch[row.batch]:
            raise table.wrong(row.line, f"epoch {row.epoch} at batch {row.batch} is there twice")
        if row.epoch > _MOST_EPOCHS:
            raise table.wrong(row.line, f"more than {_MOST_EPOCHS:,} epochs")
        by_batch[row.batch][row.epoch] = row
    name = quoted(first.job)
    if first.default_batch not in by_batch:
        raise table.wrong(
            first.line,
            f"job {name} has no epochs at its default batch, {first.default_batch}",
            hint="everything is held against the default batch: add its rows",
        )
    epochs = max(by_batch[first.default_batch])
    batches = []
    for batch in sorted(batch for batch in by_batch if batch >= first.default_batch):
        if (last := max(by_batch[batch])) < epochs:
            report(
                f"{table.path}: job {name} was trained for {last} of {epochs} epochs at batch "
                f"{batch}: it is left out"
            )
        else:
            batches.append(batch)
    ends, noise = np.zeros((2, len(batches), epochs)), np.zeros((len(batches), epochs))
    for at, batch in enumerate(batches):
        mine = by_batch[batch]
        before = (0.0, 0.0)
        for number in range(1, epochs + 1):
            if number not in mine:
                line = max(row.line for row in mine.values())
                raise table.wrong(line, f"job {name} has no epoch {number} at batch {batch}")
            row = mine[number]
            if not (row.iteration > before[0] and row.progress > before[1]):
                raise table.wrong(row.line, "iteration and progress must grow with the epoch")
            before = row.iteration, row.progress
            ends[:, at, number - 1] = before
            noise[at, number - 1] = row.noise
    return batches, ends, noise


def _refuse_without_anchor(
    path: Path, first: _Epoch, times: Sequence[StepTimes], most: int
) -> None:
    """T0 is the default batch's time on the cheapest machines with one GPU."""
    singles = [one.machines for one in times if one.machines.layout.gpus == 1]
    if not singles:
        what = f"job {quoted(first.job)} was not measured on one GPU"
        hint = "its time on the cheapest one-GPU type is what deadlines are multiples of"
        raise InputError(what, where=str(path), hint=hint)
    cheapest = min(singles, key=lambda one: one.price_per_hour_usd)
    passes = -(-first.default_batch // cheapest.most_local)
    too_large = first.default_batch / passes < cheapest.least_local
    if too_large or not candidates([cheapest], first.default_batch, most):
        raise InputError(
            f"the default batch of job {quoted(first.job)}, {first.default_batch}, cannot be made "
            f"of the local batches on its cheapest one-GPU type, "
            f"{cheapest.least_local} to {cheapest.most_local}",
            where=str(path),
            hint="passes are of equal size: add a row at a smaller local batch",
        )
