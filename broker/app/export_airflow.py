"""A job or a pipeline as a DAG of Airflow: one task, which runs it under its cap."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlbroker.broker.app.export import Exported
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.airflow_dag import airflow_dag
from mlbroker.broker.files.env_flags import parse_env
from mlbroker.broker.files.job_file import load_job
from mlbroker.broker.files.pipeline_file import load_pipeline
from mlbroker.broker.words import exact_usd

_ONE_TASK = "the pipeline is one task: its stages share one cap, and hand each other their outputs"


def export_airflow(
    path: Path, into: Path, budget: str | None, options: Mapping[str, Sequence[object]]
) -> Exported:
    """The DAG file for the folder `into`; `options` are those of `mlbroker run` with their values,
    and files among them are named as they are from the job's folder.

    Raises InputError where no budget is known: a task of Airflow has nobody to ask.
    """
    env = [str(text) for text in options.get("--env", ())]
    pipeline = load_pipeline(path, parse_env(env))
    if pipeline is None:
        job = load_job(path, env=parse_env(env)).job
        name, known, replicas = job.name, job.budget_usd, job.replicas
        if replicas is not None or not job.command:
            raise InputError("; ".join(job.not_run), hint="a job that ends can be exported")
    else:
        name, known = pipeline.name, pipeline.header.budget_usd
    cap = budget if budget is not None else None if known is None else exact_usd(known)
    if cap is None:
        hint = "or `budget:` under `broker:` in the file"
        raise InputError("a task of Airflow needs a cap", where="--budget", hint=hint)
    home = path.absolute().parent
    arguments = [path.name, "--budget", cap, "--yes"]
    for option, values in options.items():
        for value in values:
            text = os.path.relpath(value, home) if isinstance(value, Path) else str(value)
            arguments += [option, text]
    text = airflow_dag(name, os.path.relpath(home, into), arguments)
    return Exported(text, () if pipeline is None else (_ONE_TASK,))
