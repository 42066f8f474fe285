"""What a run takes along: its command with all that belongs to it, and the work directory."""

from collections.abc import Mapping
from pathlib import Path

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.words import count, size
from mlbroker.profiles.batch import Adapt
from mlbroker.profiles.job import Job


def spec_of(
    job: Job, job_path: Path, stop_when_idle_s: float | None, inputs: str | None = None
) -> dict[str, object]:
    """What its guest is to do; `inputs` is where a stage of a pipeline finds what it is given."""
    # Here the job runs in its own folder, as it does without mlbroker: data and virtual
    # environments that no bundle would carry are at their places.
    checkpoint = job.checkpoint
    return {
        "setup": job.setup,
        "command": job.command,
        "envs": dict(job.variables),
        "workdir": str(Path(job.workdir) if job.workdir else job_path.absolute().parent),
        "progress": job.progress,
        "checkpoint": (
            {"path": checkpoint.path, "every_s": checkpoint.every_s} if checkpoint else None
        ),
        "outputs": list(job.outputs),
        "stop_when_idle_s": stop_when_idle_s,
        "inputs": inputs,
        # Gradients are looked at where somebody has a use for it.
        "noise": job.batch is not None and job.adapt is not Adapt.OFF,
    }


def pack(
    workdir: str | None,
    folder: RunFolder,
    secrets: Mapping[str, str],
    listener: Listener,
    beside: Mapping[str, bytes | Path],
) -> dict[str, str | None]:
    """Pack the work directory, if any, and what goes `beside` it; what the books keep of both."""
    from mlbroker.broker.runs.bundle import pack_workdir

    bundle = pack_workdir(Path(workdir) if workdir else None, folder.bundle, secrets, beside)
    listener.note(
        f"Bundle: {count(bundle.files, 'file')}, {size(bundle.bytes)}, sha256 {bundle.sha256[:12]}"
    )
    if bundle.left_out:
        listener.warn(f"left out of the bundle: {bundle.left_out}")
    return {"bundle_sha256": bundle.sha256, "bundle_bytes": str(bundle.bytes)}
