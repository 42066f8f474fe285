"""YAML to Job: a SkyPilot task plus one block, `broker:`; every error has file, line and key."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.env_flags import NO_ENV, EnvFlags
from mlbroker.broker.files.job_batch import check_batch
from mlbroker.broker.files.job_broker import read_broker
from mlbroker.broker.files.job_nodes import settle_nodes
from mlbroker.broker.files.job_resources import FIELDS as RESOURCES
from mlbroker.broker.files.job_resources import read_resources
from mlbroker.broker.files.job_service import read_replicas, read_service
from mlbroker.broker.files.job_tune import refuse_clash, refuse_unnumbered
from mlbroker.broker.files.job_variables import read_envs, read_secrets
from mlbroker.broker.files.job_wheels import with_their_arch
from mlbroker.broker.files.pipeline_header import (
    Header,
    is_header,
    read_header,
    refuse_group_keys,
    refuse_limits_of_the_whole,
)
from mlbroker.broker.files.remarks import Remarks
from mlbroker.broker.files.skypilot_defaults import DISK_GB, as_skypilot
from mlbroker.broker.files.skypilot_keys import check_workdir
from mlbroker.broker.files.skypilot_rest import KNOWN as SKYPILOTS
from mlbroker.broker.files.skypilot_rest import read_rest
from mlbroker.broker.files.values import parse_count, parse_job_name
from mlbroker.broker.files.yaml_fields import Fields, note
from mlbroker.broker.files.yaml_strict import Node, parse, quoted, read_text
from mlbroker.profiles.job import Data, Job, ResourceOption

KNOWN = (
    "broker",
    "envs",
    "name",
    "num_nodes",
    "resources",
    "run",
    "secrets",
    "setup",
    "workdir",
)
# Any of them starts a machine in SkyPilot, also without a command.
_MACHINES = ("file_mounts", "num_nodes", "pool", "resources", "service", "setup", "workdir")


@dataclass(frozen=True, slots=True)
class JobFile:
    """A job and the file it comes from.

    `lines` has the line of each key path (`broker.deadline` -> 14), `values` each single value as
    it is written; the values of secrets are left out. A stage knows its `pipeline`, where it was
    read as one of it.
    """

    job: Job
    source: str
    lines: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    pipeline: "PipelineFile | None" = None


@dataclass(frozen=True, slots=True)
class PipelineFile:
    """A pipeline and the file it comes from. `needs[i]` are the places, in `stages`, of those that
    stage i waits for.
    """

    name: str
    header: Header
    stages: tuple[JobFile, ...]
    needs: tuple[tuple[int, ...], ...]
    source: str

    def line(self, key: str) -> str:
        """File, line and key of what the header says; of what it leaves out, the file."""
        line = self.header.lines.get(key)
        return self.source if line is None else f"{self.source}:{line}: {key}"

    def stage_line(self, stage: int) -> str:
        """File, line and name of a stage."""
        file = self.stages[stage]
        line = file.lines.get("name", file.lines.get("run", 1))
        return f"{self.source}:{line}: {file.job.name}"


def load_job(path: Path, env: EnvFlags = NO_ENV, *, needs_folder: bool = True) -> JobFile:
    """The one job of the file at `path`, with the variables of this call."""
    jobs = load_jobs(path, env, needs_folder=needs_folder)
    if len(jobs) > 1:
        names = ", ".join(file.job.name for file in jobs[:5]) + (" …" if jobs[5:] else "")
        raise InputError(
            f"holds {len(jobs)} stages, a pipeline ({names}); one job is expected",
            where=str(path),
            hint="`mlbroker plan`, `run`, `check` and `profile --stage NAME` know pipelines",
        )
    return jobs[0]


def load_jobs(path: Path, env: EnvFlags = NO_ENV, *, needs_folder: bool = True) -> list[JobFile]:
    """The jobs of the file at `path`: several YAML documents are the stages of a pipeline.

    A plan needs no folder: a workdir that is not there is told among the job's remarks.
    """
    if not os.path.lexists(path):
        hint = "`mlbroker init` writes a first job file"
        raise InputError("no such file", where=str(path), hint=hint)
    return parse_jobs(
        read_text(path),
        str(path),
        path.absolute().parent,
        workdir_must_exist=needs_folder,
        env=env,
        called_from=Path.cwd(),
    )


def parse_jobs(
    text: str,
    source: str,
    base_dir: Path | None,
    *,
    workdir_must_exist: bool = True,
    env: EnvFlags = NO_ENV,
    called_from: Path | None = None,
) -> list[JobFile]:
    """The jobs of `text`, which came from `source`.

    A relative workdir starts at `base_dir`, the file's folder, or where that has none at the folder
    it is `called_from`; in a file without `broker:` the other way round, as in SkyPilot. Without a
    `base_dir` it is left as written. A text that is not this disk's (an earlier commit's) may name
    a workdir that is not there.
    """
    try:
        return _jobs(text, source, base_dir, workdir_must_exist, env, called_from)
    except InputError:
        from mlbroker.broker.files.other_tools import refuse_other_tools

        refuse_other_tools(text, source)
        raise


def _jobs(
    text: str,
    source: str,
    base_dir: Path | None,
    workdir_must_exist: bool,
    env: EnvFlags,
    called_from: Path | None,
) -> list[JobFile]:
    documents = _documents(text, source)
    folders = () if base_dir is None else (base_dir, called_from or base_dir)
    if not documents:
        raise InputError(
            "holds no job", where=source, hint="`mlbroker init` writes a first job file"
        )
    several = bool(documents[1:])
    for place, document in enumerate(documents if several else ()):
        _refuse_what_no_stage_has(Fields(document, "", source), first=not place)
    files = [
        _job_file(document, source, folders, workdir_must_exist, number if several else None, env)
        for number, document in enumerate(documents, 1)
    ]
    if not several and files[0].job.needs is not None:
        raise InputError(
            "broker.needs: is of a stage, and this file holds one job",
            where=f"{source}:{files[0].lines['broker.needs']}",
            hint="write the stages into one file, with a line of --- between them",
        )
    lines: dict[str, int] = {}
    for file in files:
        line = file.lines.get("name", file.lines.get("run", 1))
        if file.job.name in lines:
            raise InputError(
                f"name: {quoted(file.job.name)} is given to two stages (first on line"
                f" {lines[file.job.name]})",
                where=f"{source}:{line}",
                hint="give each stage of a pipeline a name of its own",
            )
        lines[file.job.name] = line
    return files


def _documents(text: str, source: str) -> list[Node]:
    """The jobs' documents, without a pipeline's header."""
    documents = parse(text, source, with_empty=True)
    told = [document for document in documents if not document.is_null]
    if len(told) < 2:
        return told
    empty = next((document for document in documents if document.is_null), None)
    if empty is not None:
        raise InputError(
            "an empty document, which is no stage",
            where=f"{source}:{empty.line}",
            hint="take one of the lines of --- around it out",
        )
    if is_header(told[0]):
        header = read_header(told[0], source)
        del told[0]
        if header.has_limits and not told[1:]:
            raise InputError(
                "broker: is in a header, and there is one job after it, no pipeline",
                where=f"{source}:{header.lines['broker']}",
                hint="write it into the job, and leave the header out",
            )
    return told


def _refuse_what_no_stage_has(fields: Fields, *, first: bool) -> None:
    refuse_group_keys(fields)
    block = fields.section("broker")
    if block is not None:
        refuse_limits_of_the_whole(block, first=first)


def _job_file(
    node: Node,
    source: str,
    folders: tuple[Path, ...],
    must_exist: bool,
    number: int | None,
    env: EnvFlags,
) -> JobFile:
    fields = Fields(node, "", source)
    _refuse_unknown(fields)
    remarks = Remarks()
    data = read_rest(fields, remarks)
    replicas, engine = read_replicas(fields)
    if replicas is not None:
        remarks.not_run.append(
            f"{replicas.kind}: it runs until it is stopped, and mlbroker runs jobs"
        )
    command = _command(fields, remarks)
    ours = "broker" in fields
    secrets = read_secrets(fields, remarks)
    envs, from_environment = read_envs(fields, env, secrets, remarks, ours=ours)
    block = fields.section("broker")
    usual = ResourceOption() if ours else ResourceOption(disk_gb=DISK_GB)
    resources_node = fields.node("resources")
    resources: tuple[ResourceOption, ...] = (usual,)
    if resources_node is not None:
        resources = read_resources(resources_node, source, remarks, ours=ours)
    if not ours:
        resources = as_skypilot(resources, remarks)
    own = read_broker(block) if block else {}
    service = engine if block is None else read_service(block, engine)
    said = fields.value("num_nodes", lambda text: parse_count(text, 10_000))
    alone = number is None
    nodes = settle_nodes(block, own, said, stage=not alone, replicas=replicas is not None)
    if block is not None:
        check_batch(block, own, nodes, envs, (*secrets, *from_environment))
        if (batch := own.get("batch")) is not None:
            envs |= batch.variables(batch.size, nodes)
    if block is not None and (study := own.get("study")) is not None:
        refuse_clash(block, study, envs, (*secrets, *from_environment))
        if own.get("checkpoint") is not None:
            refuse_unnumbered(block, study)
    own["data"] = _data(own.get("data"), data, remarks)
    if own["data"].checkpoint_gb is not None and own.get("checkpoint") is None:
        remarks.said.append(
            "`data: checkpoint_gb` counts nothing, as nothing is saved: say where, and how often,"
            " with `checkpoint: {path: ckpt/, every: 10m}` under `broker:`."
        )
    workdir = _workdir(fields, envs, folders, ours, must_exist, remarks)
    setup = fields.text("setup")
    folder = Path(workdir) if workdir is not None else next(iter(folders), None)
    resources = with_their_arch(resources, (setup or "", command), folder, remarks)
    lines: dict[str, int] = {}
    values: dict[str, str] = {}
    note(node, "", lines, values)
    return JobFile(
        Job(
            name=fields.value("name", parse_job_name) or _name_from(source, number),
            command=command,
            setup=setup,
            workdir=workdir,
            num_nodes=nodes,
            resources=resources,
            envs=envs,
            secrets=tuple(dict.fromkeys([*secrets, *from_environment])),
            replicas=replicas,
            service=service,
            ignored=tuple(remarks.ignored),
            said=tuple(dict.fromkeys(remarks.said)),
            not_run=tuple(dict.fromkeys(remarks.not_run)),
            **own,
        ),
        source,
        lines,
        values,
    )


def _refuse_unknown(fields: Fields) -> None:
    """A field that nobody knows is refused: what it asks for would be missing."""
    known = (*KNOWN, *SKYPILOTS)
    for key in fields:
        if key in RESOURCES and key not in known:
            fields.fail(key, f"unknown key {quoted(key)}", f"write it under `resources:`: {key}")
    fields.refuse_unknown(known)


def _command(fields: Fields, remarks: Remarks) -> str:
    """The command; a SkyPilot task without one starts machines, which have a price by the hour."""
    command = fields.text("run")
    if command is not None and command.strip():
        return command
    if all(fields.node(key) is None for key in _MACHINES):
        raise InputError(
            "run: is missing",
            where=f"{fields.source}:{fields.line('run')}",
            hint="add the job's command, for example `run: python train.py`",
        )
    remarks.not_run.append("run: is missing, so there is no job to run")
    return ""


def _data(given: Data | None, told: Data, remarks: Remarks) -> Data:
    """What the broker block says of the data; else what the task's buckets tell."""
    data = told if given is None else given._replace(at=given.at or told.at)
    if told.at is not None and not data.input_gb:
        cloud = told.at.cloud
        remarks.said.append(
            f"The job has a bucket of {cloud}; how much it reads is not known, and no traffic is in"
            f" its price: say `data: {{input_gb: 40, at: {cloud}/REGION}}` under `broker:`."
        )
    elif data.at is not None and data.at.region is None and (data.input_gb or data.output_gb):
        cloud = data.at.cloud
        remarks.said.append(
            f"In which region of {cloud} the data lies is not known: its traffic is priced as"
            f" from and to another one, at the highest rate of {cloud}; say `at: {cloud}/REGION`."
        )
    return data


def _name_from(source: str, number: int | None) -> str:
    """The file's name, with the document's number when it is one of several."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(source).stem).strip("-._")[:90] or "job"
    return stem if number is None else f"{stem}-{number}"


def _workdir(
    fields: Fields,
    envs: Mapping[str, str],
    folders: tuple[Path, ...],
    beside_first: bool,
    must_exist: bool,
    remarks: Remarks,
) -> str | None:
    node = fields.node("workdir")
    if node is not None and node.fields is not None:
        check_workdir(Fields(node, "workdir", fields.source))
        remarks.not_run.append("workdir: mlbroker fetches none from git: clone it, name the folder")
        return None
    written = fields.text("workdir")
    if written is None:
        return None
    if not written.isprintable():
        fields.fail("workdir", "holds control characters")
    filled = re.sub(
        r"\$\{(\w+)\}|\$(\w+)",
        lambda found: envs.get(found[1] or found[2], found[0]),
        written,
    )
    if not folders:
        return filled
    try:
        beside, called = (
            Path(os.path.abspath(folder / Path(filled).expanduser())) for folder in folders
        )
        tried = [beside, called] if beside_first else [called, beside]
        path = next((path for path in tried if path.exists()), tried[0])
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        fields.fail("workdir", f"{quoted(filled)} cannot be used: {error}")
    if exists and path != beside:
        remarks.said.append(f"workdir: {path}, not beside the file.")
    if not exists and not must_exist:
        remarks.said.append(f"workdir: there is no folder {quoted(filled)}; a run needs it.")
        return str(path)
    if exists and not is_folder:
        fields.fail("workdir", f"{quoted(filled)} is not a folder")
    if not exists:
        fields.fail(
            "workdir",
            f"there is no folder {quoted(filled)}",
            f"a relative path starts in {' or in '.join(dict.fromkeys(map(str, folders)))}",
        )
    return str(path)
