"""Try remedies on a job here, keep what was proven, and say what it is worth."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from mlbroker.broker.app.advise import worth_on
from mlbroker.broker.app.listener import Watcher
from mlbroker.broker.app.plan import PlanQuery, plan
from mlbroker.broker.app.sources import refuse_what_is_not_run
from mlbroker.broker.errors import InputError
from mlbroker.broker.evidence.store import MeasurementStore
from mlbroker.broker.evidence.tries import Kept, TryStore
from mlbroker.broker.measure.result import learnt_work
from mlbroker.broker.measure.trying import Trying
from mlbroker.policies.advice.proven import Worth
from mlbroker.profiles.job import Job


@dataclass(frozen=True, slots=True)
class TriedOut:
    """The trial, and what the best of it saves a run of the plan's choice."""

    kept: Kept
    worth: Worth | None


def try_out(job: Job, path: Path, remedies: list[str], state: Path, watcher: Watcher) -> TriedOut:
    """Nothing of the job's own is changed: its starts here are as `profile` makes them."""
    if job.replicas is not None:
        raise InputError("a service or a pool has no steps to try remedies on", where=str(path))
    refuse_what_is_not_run(job, watcher, here=True)
    known = replace(job, work=learnt_work(job, MeasurementStore(state).for_job(job)))
    kept = Kept(Trying(known, remedies, watcher.seen, watcher.note).run(), datetime.now(UTC))
    TryStore(state).keep(job, kept)
    best = kept.trial.best
    if best is None:
        return TriedOut(kept, None)
    return TriedOut(kept, worth_on(plan(PlanQuery(job, path, top=1), state, watcher), best))
