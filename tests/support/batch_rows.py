"""What `profile --batch` would have kept of a job on one machine, at several batches."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlbroker.broker.evidence import facts
from mlbroker.broker.evidence.store import MeasurementStore
from mlbroker.broker.files.job_file import load_job
from mlbroker.profiles.measurement import Measurement


def keep_steps(
    home: Path, job_path: Path, step_s: float, batches: Iterable[int], **place: Any
) -> None:
    """A step of so many seconds at each batch, at the `place` (config, cloud, instance_type)."""
    job = load_job(job_path).job
    MeasurementStore(home).add(
        Measurement(
            job=job.name, time_s=step_s, measured_at=datetime.now(UTC), batch_size=batch,
            steps=100, fingerprint=job.fingerprint(), facts=facts.of(job, measured=True), **place,
        )
        for batch in batches
    )  # fmt: skip
