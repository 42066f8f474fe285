"""A job's steps at several batches, told to it by its own variables, and what they are worth."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from mlbroker.broker.errors import InputError
from mlbroker.broker.evidence import facts
from mlbroker.broker.evidence.store import MeasurementStore
from mlbroker.broker.files.values import parse_count
from mlbroker.broker.measure.profile import Show, profile_here
from mlbroker.profiles.batch import LrRule
from mlbroker.profiles.batches_seen import has_step, latest_noise, size_of
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.noise_seen import NoiseSeen
from mlbroker.profiles.stepping.stopping import StopRule

_NEEDS_NOISE = (LrRule.ADASCALE, LrRule.SQRT)
MOST_BATCHES = 20


class AtBatch(NamedTuple):
    """The step at one batch on one machine. `efficiency` is the worth of a sample, `gain` that of a
    step, `goodput` of a second, all in those of the job's own batch; None where the noise is not
    known, as is the learning rate's factor.
    """

    batch: int
    config: str
    step_s: float
    samples_per_s: float
    efficiency: float | None
    goodput: float | None
    lr_scale: float | None

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return self._asdict()


def parse_batches(text: str, job: Job) -> tuple[int, ...]:
    """`64,256`: batches that the job may have and can be told."""
    batch = job.batch
    if batch is None or not batch.can_be_told:
        raise InputError(
            "the job file does not say by which variable the job is told its batch",
            where="--batch",
            hint="under `broker:`, `batch: {size: 128, max: 1024, env: {total: BATCH}}`",
        )
    words = text.split(",")
    if len(words) > MOST_BATCHES:
        raise InputError(f"more than {MOST_BATCHES} batches", where="--batch")
    try:
        sizes = [parse_count(word) for word in words]
    except InputError as error:
        raise InputError(error.what, where="--batch", hint="for example 64,256") from None
    for size in sizes:
        if size > batch.most:
            what = f"{size} is above what the job file allows, max: {batch.most}"
            raise InputError(what, where="--batch")
        if size % job.num_nodes:
            what = f"{size} is not divisible among {job.num_nodes} nodes"
            raise InputError(what, where="--batch")
    return tuple(dict.fromkeys(sizes))


def job_at(job: Job, size: int, noise: NoiseSeen | None) -> Job:
    """The job as it is told this batch; its learning rate follows where the noise is known."""
    batch = job.batch
    assert batch is not None  # who asks for a batch has checked it
    told = batch.variables(size, job.num_nodes, _lr_scale(job, size, noise) or 1.0)
    return replace(job, batch=batch._replace(size=size), envs={**job.envs, **told})


def measure_batches(
    job: Job,
    sizes: Sequence[int],
    rule: StopRule,
    known: Sequence[Measurement],
    show: Show,
    note: Callable[[str], None],
) -> list[Measurement]:
    """One after the other on this machine; InputError where the job takes another batch than it
    was told, as that measurement would be of something else.
    """
    assert job.batch is not None  # who asks for batches has seen to it
    noise, rate = latest_noise(job.batch, known), job.batch.rate
    if noise is None and rate is not None and rate.rule in _NEEDS_NOISE:
        note(f"{rate.env} stays as it is: the gradient noise is not known yet.")
    version = facts.of(job, measured=True)
    found = []
    for size in sizes:
        note(f"Batch {size}:")
        row = profile_here(job_at(job, size, noise), rule, show).measurement
        if (other := taken_instead(row)) is not None:
            raise InputError(
                f"the job was told batch {size} and trains with {other}",
                where="--batch",
                hint="does it read the variables under `batch: env:`?",
            )
        # Of the job as it is: the batch alone is another one, and stands beside it.
        found.append(replace(row, fingerprint=job.fingerprint(), facts=version))
    return found


def taken_instead(row: Measurement) -> int | None:
    """The batch that the probe saw, where it is not the one that the job was told."""
    seen = row.extra.get("noise_batch", "")
    if row.batch_size is None or not seen.isdecimal() or int(seen[:15]) == row.batch_size:
        return None
    return int(seen[:15])


def at_batches(job: Job, rows: Sequence[Measurement]) -> list[AtBatch]:
    """The latest step at each batch and machine, smallest batch first; none of one batch alone."""
    batch = job.batch
    assert batch is not None  # who asks has seen to it
    latest = {(size_of(batch, row), row.config): row for row in rows if has_step(row)}
    if len({size for size, _ in latest}) < 2:
        return []
    noise = latest_noise(batch, rows)
    return [
        _at(job, size, row, noise)
        for (size, _), row in sorted(latest.items(), key=lambda item: item[0])
    ]


def _at(job: Job, size: int, row: Measurement, noise: NoiseSeen | None) -> AtBatch:
    from mlbroker.profiles.goodput import goodput
    from mlbroker.profiles.noise import efficiency

    own = 0 if job.batch is None else job.batch.size
    worth = rate = None
    if noise is not None:
        worth = float(efficiency(noise.noise, own, size))
        rate = float(goodput(noise.noise, own, size, row.time_s))
    lr_scale = _lr_scale(job, size, noise)
    return AtBatch(size, row.config, row.time_s, size / row.time_s, worth, rate, lr_scale)


def _lr_scale(job: Job, size: int, noise: NoiseSeen | None) -> float | None:
    from mlbroker.profiles.noise import lr_scale

    batch = job.batch
    if batch is None or batch.rate is None:
        return None
    if noise is None:
        known = size == batch.size or batch.rate.rule not in _NEEDS_NOISE
        return lr_scale(1.0, batch.size, size, batch.rate.rule) if known else None
    return lr_scale(noise.noise, batch.size, size, batch.rate.rule)


def known_batches(job: Job, state: Path) -> list[AtBatch]:
    """All that is kept of the job's batches; nothing is read of a job without one."""
    if job.batch is None:
        return []
    return at_batches(job, MeasurementStore(state).at_every_batch(job))
