"""The machine that a plan chose, carried back into another tool's file."""

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from mlbroker.broker.app.plan import Planned
from mlbroker.broker.engines import EXPORTERS
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.other_tools import writer
from mlbroker.broker.files.other_tools.interface import Chosen
from mlbroker.broker.plan_words import nothing_chosen
from mlbroker.broker.words import money


class Exported(NamedTuple):
    """The file's text, and in words what is not in it."""

    text: str
    notes: tuple[str, ...]


def export(planned: Planned, tool: str, into: Path) -> Exported:
    """The file of `tool`, for the folder `into`.

    Raises InputError for what is no job, and NothingFeasible where the plan chose nothing.
    """
    job = planned.plan.job
    if job.replicas is not None or not job.command:
        raise InputError(
            "; ".join(job.not_run),
            hint=f"a job that ends can be exported; a service to {', '.join(EXPORTERS)}",
        )
    chosen = chosen_of(planned, into)
    module = writer(tool)
    others = set(re.findall(r"\bMLBROKER_\w+|\bSKYPILOT_\w+", f"{job.setup}\n{job.command}"))
    notes = [f"{reason} (nor is it in the file)" for reason in job.not_run]
    notes += [
        f"${name}: the command uses it, and {tool} does not set it"
        for name in sorted(others)
        if tool != "skypilot" or name.startswith("MLBROKER_")
    ]
    notes += [
        f"{key}: {value} is not in the file: {tool} has no word for it"
        for key, value in chosen.asked_for().items()
        if key not in module.SAYS
    ]
    price = money(chosen.quote.hourly_usd)
    comment = f"# {chosen.words}, by mlbroker export: {price} USD an hour.\n"
    return Exported(headed(module.write(chosen), comment), tuple(notes))


def chosen_of(planned: Planned, into: Path) -> Chosen:
    """The machine that the plan chose, for the folder `into`; NothingFeasible where it has none."""
    plan = planned.plan
    job, quote = plan.job, plan.choice
    if quote is None:
        raise nothing_chosen(plan)
    asked = (quote.cloud, quote.instance_type)
    kind = next(k for _, _, k in planned.book.types() if (k.cloud, k.name) == asked)
    limit_s = None if job.deadline is None else int(job.deadline.seconds_from(plan.generated_at))
    workdir = None if job.workdir is None else os.path.relpath(job.workdir, into)
    if quote.batch is not None and job.batch is not None:
        at = quote.batch
        told = job.batch.variables(at.size, job.num_nodes, at.lr_scale or 1.0)
        job = replace(job, envs={**job.envs, **told})
    return Chosen(job, quote, kind, limit_s, workdir)


def headed(text: str, comment: str) -> str:
    """The text below a comment, which stands behind the line that names an interpreter."""
    if text.startswith("#!"):
        first, _, rest = text.partition("\n")
        return f"{first}\n{comment}{rest}"
    return comment + text
