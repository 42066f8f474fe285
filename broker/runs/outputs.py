"""What is said of a run's outputs: where they will be taken from, and afterwards what came."""

import os
from collections.abc import Iterable
from pathlib import Path

from mlbroker.broker.guest.outputs import KEPT_BYTES
from mlbroker.broker.ledger import Run
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.order import Order
from mlbroker.broker.words import count, size
from mlbroker.pricing.vendors import LOCAL
from mlbroker.profiles.job import Job

_LEFT_THERE = "what the job leaves in $MLBROKER_OUTPUT_DIR"
_NAMED = 10


def where_from(job: Job, cloud: str) -> str:
    """One line, before anything is spent."""
    if cloud == LOCAL:
        text = f"the job works in its own folder, here; {_LEFT_THERE} is kept with the run"
    elif job.outputs:
        text = f"{', '.join(job.outputs)}, and {_LEFT_THERE}"
    else:
        new = f"new files of its work directory, up to {size(KEPT_BYTES)}"
        text = f"{_LEFT_THERE}, else {new}; choose with `broker: outputs:`"
    return f"Outputs: {text}."


def what_came(run: Run, folder: RunFolder) -> list[str]:
    """In lines, what is at home, or why nothing is."""
    brought = [folder.outputs, *sorted(folder.path.glob("ranks/*/outputs"))]
    told = [f"Outputs: {text}" for text in map(_contents, brought) if text]
    for attempt in run.attempts:
        kept = f"attempt {attempt.number} left it in the bucket" if attempt.stays else ""
        told += [f"{name} is not home: {kept}, {where}" for name, where in attempt.stays.items()]
    if told or run.outcome != "succeeded":
        return told
    spec = Order.load(folder.path, run.details["order_sha256"]).spec
    if run.attempt.cloud == LOCAL:
        return [f"Outputs: where the job put them, in {spec.get('workdir')}"]
    if run.attempt.missing:
        return [f"Outputs: not brought home: {', '.join(run.attempt.missing)}"]
    none = "none, as the job left nothing in $MLBROKER_OUTPUT_DIR"
    named = "named so" if spec.get("outputs") else "new"
    return [f"Outputs: {none}, and nothing {named} in its work directory"]


def _contents(folder: Path) -> str | None:
    """How much is in it, where, and the first by name; None when it holds no file."""
    names = sorted(_files_below(folder), key=lambda name: (name.count(os.sep), name))
    if not names:
        return None
    total = size(sum((folder / name).lstat().st_size for name in names))
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    first = ", ".join(names[:_NAMED])
    return f"{count(len(names), 'file')}, {total}, in {folder}: {first}{more}"


def _files_below(folder: Path) -> Iterable[str]:
    for at, _, names in os.walk(folder):
        for name in names:
            yield os.path.relpath(os.path.join(at, name), folder)
