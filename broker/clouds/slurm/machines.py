"""Slurm's jobs as machines: which of several is meant, and how one ended."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from mlbroker.broker.clouds.interface import RUN_TAG, TOKEN_TAG, Machine, MachineState
from mlbroker.broker.clouds.on_prem import parts_of
from mlbroker.broker.clouds.slurm import calls

# How a job ended of which its guest could not tell, by Slurm's word.
ENDS = {
    "TIMEOUT": "capped",
    "DEADLINE": "capped",
    "PREEMPTED": "preempted",
    "CANCELLED": "stopped",
    "OUT_OF_MEMORY": "failed",
    "NODE_FAIL": "machine_failed",
    "BOOT_FAIL": "machine_failed",
}
# By these ends the guest may only have been told by a signal what Slurm knows better.
BY_SIGNAL = frozenset({"stopped", "failed", "setup_failed"})
_OURS = re.compile(r"mlb-(.+)-\d+")


def tags_of(token: str) -> dict[str, str]:
    """A job's name is all there is; empty of a name that is none of ours."""
    found = _OURS.fullmatch(token)
    return {} if found is None else {RUN_TAG: found[1], TOKEN_TAG: token}


def most_telling(jobs: Sequence[calls.Job], started: bool) -> calls.Job | None:
    """Of several jobs of one name, of which one at most is more than a start that came to nothing:
    the one that lives; else the first that worked; else the one that waits.

    Where one is known to have `started` in the box, one that Slurm takes for not started is not
    it, or is told of by a controller that was killed and remembers less: None is better.
    """
    alive = (MachineState.RUNNING, MachineState.TERMINATING)
    worked = [job for job in jobs if job.started_at is not None]
    living = [job for job in worked if job.state in alive]
    if started or living:
        return min(living or worked, key=_start, default=None)
    waiting = [job for job in jobs if job.state is MachineState.PENDING]
    return min(waiting or worked or jobs, key=_start, default=None)


def word_since(jobs: Sequence[calls.Job], began: datetime | None) -> str:
    """Slurm's word for a job that `began` by its box alone; GONE where it has none.

    Slurm tells whole seconds: what was cancelled in the second of its start seems never to have
    started, but to have ended when the box began, or later.
    """
    since = None if began is None else began.replace(microsecond=0)
    words = (job.word for job in jobs if since and job.ended_at and job.ended_at >= since)
    return next(words, calls.GONE)


def _start(job: calls.Job) -> datetime:
    return job.started_at or datetime.max.replace(tzinfo=UTC)


def machine_of(machine_id: str, job: calls.Job) -> Machine:
    """A job as a run's driver sees it."""
    _, token = parts_of(machine_id)
    return Machine(
        machine_id,
        job.state,
        tags_of(token),
        job.started_at,
        job.ended_at,
        preempted=job.word == "PREEMPTED",
        says=job.reason if job.state is MachineState.PENDING else None,
        kill_at=job.due_at,
    )


def end_by(
    job: calls.Job, why: str, told: Mapping[str, object] | None, words: str
) -> Mapping[str, object]:
    """What a guest told of its end, or could not tell, by Slurm's word for it."""
    detail = f"Slurm says {job.word}{words and ': '}{words}"
    return {**(told or {"exit_code": None}), "why": why, "detail": detail}
