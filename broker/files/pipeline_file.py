"""Several YAML documents to a pipeline: its stages, what each waits for, and the whole's limits."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.env_flags import NO_ENV, EnvFlags
from mlbroker.broker.files.job_file import JobFile, PipelineFile, parse_jobs
from mlbroker.broker.files.pipeline_header import Header, is_header, read_header
from mlbroker.broker.files.yaml_fields import nearest_hint
from mlbroker.broker.files.yaml_strict import parse, quoted, read_text

MOST_STAGES = 300
# Only behind such a line another document begins (YAML 1.1, 9.2).
_NEXT_DOCUMENT = re.compile(r"[\n\r\x85\u2028\u2029](---|\.\.\.)")


def load_pipeline(
    path: Path, env: EnvFlags = NO_ENV, *, needs_folder: bool = False
) -> PipelineFile | None:
    """The pipeline of the file at `path`; None where it holds one job, or cannot be read as a
    file at all, which `load_job` says best.
    """
    try:
        text = read_text(path)
    except InputError:
        return None
    return parse_pipeline(
        text, str(path), path.absolute().parent,
        workdir_must_exist=needs_folder, env=env, called_from=Path.cwd(),
    )  # fmt: skip


def parse_pipeline(
    text: str,
    source: str,
    base_dir: Path | None,
    *,
    workdir_must_exist: bool = True,
    env: EnvFlags = NO_ENV,
    called_from: Path | None = None,
) -> PipelineFile | None:
    """The pipeline of `text`; None where it holds one job, whatever is wrong with that."""
    if _NEXT_DOCUMENT.search(text) is None:
        return None  # whoever reads the one job parses it
    try:
        documents = parse(text, source)
    except InputError:
        return None
    header = Header()
    if documents[1:] and is_header(documents[0]):
        header = read_header(documents[0], source)
        del documents[0]
    if len(documents) < 2:
        return None
    if len(documents) > MOST_STAGES:
        where = f"{source}:{documents[MOST_STAGES].line}"
        raise InputError(f"more than {MOST_STAGES} stages", where=where)
    stages = parse_jobs(
        text, source, base_dir,
        workdir_must_exist=workdir_must_exist, env=env, called_from=called_from,
    )  # fmt: skip
    name = header.name or (Path(source).stem if header.name is None else "")
    needs = _needs(stages, source, header)
    _refuse_cycles(stages, needs, source)
    return PipelineFile(name, header, tuple(stages), needs, source)


def _needs(stages: Sequence[JobFile], source: str, header: Header) -> tuple[tuple[int, ...], ...]:
    """The document before, where a stage does not say for which it waits."""
    places = {file.job.name: place for place, file in enumerate(stages)}
    found: list[tuple[int, ...]] = []
    for place, file in enumerate(stages):
        named = file.job.needs
        if named is None:
            found.append((place - 1,) if place and not header.parallel else ())
            continue
        for name in named:
            if name not in places or name == file.job.name:
                what = "itself" if name == file.job.name else f"{quoted(name)}, which is no stage"
                others = [other for other in places if other != file.job.name]
                raise InputError(
                    f"{file.job.name}: broker.needs: names {what}",
                    where=f"{source}:{file.lines['broker.needs']}",
                    hint=nearest_hint(name, others, "stages are {names}"),
                )
        found.append(tuple(places[name] for name in named))
    return tuple(found)


def _refuse_cycles(stages: Sequence[JobFile], needs: Sequence[Sequence[int]], source: str) -> None:
    """Stages that wait for each other would never start."""
    waiting = dict(enumerate(needs))
    while ready := [s for s, before in waiting.items() if not any(b in waiting for b in before)]:
        for stage in ready:
            del waiting[stage]
    if not waiting:
        return
    # Whoever is left waits for another that is left: following that leads into a circle.
    walk = [min(waiting)]
    while walk[-1] not in walk[:-1]:
        walk.append(next(before for before in waiting[walk[-1]] if before in waiting))
    circle = walk[walk.index(walk[-1]) :]
    names = [stages[stage].job.name for stage in circle]
    said = next((s for s in circle if stages[s].job.needs is not None), circle[0])
    lines = stages[said].lines
    raise InputError(
        f"{names[0]}: waits for itself: {' needs '.join(names)}",
        where=f"{source}:{lines.get('broker.needs', lines.get('name', 1))}",
        hint="a stage without `needs` waits for the document before it; [] waits for none",
    )


def as_jobs(pipeline: PipelineFile) -> list[JobFile]:
    """The stages, each with its pipeline and, under `pipeline.`, what its header says."""
    header = pipeline.header
    lines = {f"pipeline.{key}": line for key, line in header.lines.items()}
    values = {f"pipeline.{key}": value for key, value in header.values.items()}
    return [
        replace(
            file,
            job=replace(file.job, runs_per_month=header.runs_per_month),
            lines={**file.lines, **lines},
            values={**file.values, **values},
            pipeline=pipeline,
        )
        for file in pipeline.stages
    ]
