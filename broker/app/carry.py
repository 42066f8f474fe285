"""Files of other tools, carried over into a job file; and a plan's machine carried back."""

import os
from pathlib import Path
from typing import NamedTuple

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.job_file import parse_jobs
from mlbroker.broker.files.other_tools import TOOLS, reader, tool_of
from mlbroker.broker.files.other_tools.carrying import Carrying
from mlbroker.broker.files.other_tools.job_text import job_text
from mlbroker.broker.files.yaml_fields import nearest_hint
from mlbroker.broker.files.yaml_strict import quoted, read_text
from mlbroker.pricing.gpu_names import GPU_MODELS, gpu_model, unsold_model


class CarriedOver(NamedTuple):
    """A job file's text, what was read for it, and a line for all that is not in it as it was."""

    text: str
    words: str
    notes: tuple[str, ...]


def carry_over(path: Path, folder: Path, gpu: str | None) -> CarriedOver | None:
    """The job file for `folder` from another tool's file; None where that is a job file itself.

    `gpu` is the model for files that ask for GPUs of no model.
    """
    text, source = read_text(path), str(path)
    name = tool_of(text)
    if name is None:
        _refuse_unless_a_job(text, source, path)
        return None
    carrying = Carrying(source, gpu=None if gpu is None else _model(gpu))
    reader(name).read(text, carrying)
    carrying.check_gpu()
    if carrying.name is None:
        carrying.job_name(1, path.stem)
    if "instance_type" not in carrying.resources:
        # Nobody names what a whole cluster is made of.
        carrying.resources.setdefault("arch", "x86_64")
    carrying.notes.sort(key=lambda note: note.line)
    workdir = None
    if carrying.workdir is not None:
        beside = (folder if carrying.workdir_here else path.parent) / carrying.workdir
        workdir = os.path.relpath(beside, folder)
        if not beside.is_dir():
            carrying.say(1, f"there is no folder {quoted(str(beside))}: a run needs it")
    written = job_text(carrying, workdir, path.name)
    try:
        parse_jobs(written, source, folder.absolute(), workdir_must_exist=False)
    except InputError as error:
        raise InputError(f"cannot be a job: {error.what}", where=source, hint=error.hint) from None
    notes = tuple(f"{source}:{note.line}: {note.text}" for note in carrying.notes)
    return CarriedOver(written, TOOLS[name].words, notes)


def _refuse_unless_a_job(text: str, source: str, path: Path) -> None:
    try:
        parse_jobs(text, source, path.absolute().parent, workdir_must_exist=False)
    except InputError as error:
        known = [tool.words for tool in TOOLS.values() if tool.reads]
        what = f"is none of these: {', '.join(known)}"
        raise InputError(what, where=source, hint=f"as a SkyPilot task: {error}") from None


def _model(name: str) -> str:
    model = gpu_model(name) or unsold_model(name)
    if model is None:
        hint = nearest_hint(name, GPU_MODELS)
        raise InputError(f"unknown accelerator {quoted(name)}", where="--gpu", hint=hint)
    return model
