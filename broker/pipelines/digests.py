"""What tells one version of a stage from another: its definition, its code, and its inputs."""

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from mlbroker.broker.files.job_file import PipelineFile
from mlbroker.broker.guest.archives import LeftOut
from mlbroker.broker.guest.outputs import matches
from mlbroker.broker.runs.workdir import files_below
from mlbroker.profiles.job import Job


def definition_of(job: Job) -> str:
    """Of what the pipeline's file says that a stage does; of secrets their names."""
    checkpoint = job.checkpoint and job.checkpoint.path
    facts = [
        job.command, job.setup, sorted(job.envs.items()), sorted(job.secrets), job.num_nodes,
        list(job.outputs), checkpoint,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def digest_of(job: Job, folder: Path | None, file: PipelineFile, inputs: Mapping[str, Path]) -> str:
    """Of a stage as it would run now: its definition, the files of its `folder`, and the content
    of the folders that the stages before it hand on.
    """
    whole = hashlib.sha256(definition_of(job).encode())
    if folder is not None:
        _add_files(whole, folder, _code(folder, file))
    for name in sorted(inputs):
        whole.update(f"\0{name}\0".encode())
        _add_files(whole, inputs[name], _all_below(inputs[name]))
    return whole.hexdigest()


def _code(folder: Path, file: PipelineFile) -> Iterable[str]:
    """What git would take of the folder, without what stages make in it, and without the
    pipeline's file, of which the definition has this stage's part.
    """
    made = [pattern for each in file.stages for pattern in each.job.outputs]
    made += [each.job.checkpoint.path for each in file.stages if each.job.checkpoint]
    patterns = [tuple(p for p in each.split("/") if p not in ("", ".")) for each in made]
    own = Path(file.source).absolute().resolve()
    top = folder.resolve()
    for name in files_below(top, LeftOut()):
        parts = name.split("/")
        if "__pycache__" in parts or top / name == own:
            continue
        if not any(matches(parts, pattern) for pattern in patterns):
            yield name


def _all_below(folder: Path) -> Iterable[str]:
    names = [
        os.path.relpath(os.path.join(at, name), folder)
        for at, _, found in os.walk(folder)
        for name in found
    ]
    return sorted(names)


def _add_files(whole: "hashlib._Hash", top: Path, names: Iterable[str]) -> None:
    """Names, whether they can be executed, and contents; of a link where it leads."""
    for name in names:
        path = top / name
        try:
            found = path.lstat()
            if stat.S_ISLNK(found.st_mode):
                content = os.readlink(path).encode(errors="surrogateescape")
            elif stat.S_ISREG(found.st_mode):
                with open(path, "rb") as stream:
                    content = hashlib.file_digest(stream, "sha256").digest()
            else:
                continue
        except OSError:
            continue  # it went meanwhile, or cannot be read: the job has nothing of it either
        runs = bool(found.st_mode & stat.S_IXUSR)
        whole.update(json.dumps([os.fsencode(name).hex(), runs, len(content)]).encode() + content)
