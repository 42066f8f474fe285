"""A job on as many machines as do best, of those that its file allows."""

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from mlbroker.broker.app.listener import Silent
from mlbroker.broker.app.sources import (
    Sources,
    book_of,
    evidence_of,
    own_runs_of,
    solver_of,
    with_nodes,
    within_reach,
)
from mlbroker.broker.judge import judge_of
from mlbroker.policies.candidates import Filters
from mlbroker.policies.planner.node_counts import AtCount, at_counts, best_count
from mlbroker.policies.planner.plan import PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.profiles.job import Job


class Counted(NamedTuple):
    """The job, and what each number of machines would do; nothing where there is no choice."""

    job: Job
    counts: tuple[AtCount, ...] = ()


def counted(job: Job, job_path: Path, filters: Filters, sources: Sources, state: Path) -> Counted:
    """The job on the number of machines that is planned from here on.

    What has to be said of the job is said by the plan of it.
    """
    if len(job.node_counts) < 2:
        return Counted(job)
    told = Silent()
    book = with_nodes(book_of(state, sources.prices, told), state, sources.nodes)
    book = within_reach(book, state, job)
    judge = judge_of(job_path, sources.policy, reason=sources.reason)
    requests = []
    for nodes in job.node_counts:
        evidence = evidence_of(job.on_nodes(nodes), state, sources.measure, told)
        solver, own = solver_of(evidence, state), own_runs_of(evidence, state, told)
        requests.append(
            PlanRequest(evidence.job, evidence, filters, judge, solver=solver, own_runs=own)
        )
    counts = at_counts(Planner(book, datetime.now(UTC)), requests)
    return Counted(job.on_nodes(best_count(counts, job.num_nodes)), tuple(counts))
