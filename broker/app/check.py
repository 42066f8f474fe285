"""What a change costs: every job it touches priced before and after, and how that ends."""

from pathlib import Path

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.sources import Sources, book_of, refuse_unknown_type, with_nodes
from mlbroker.broker.ci.check import CostCheck
from mlbroker.broker.ci.session import CheckRequest, now_or_pinned, run_check
from mlbroker.broker.errors import InputError, MlbrokerError, NothingFeasible, ThresholdCrossed
from mlbroker.broker.evidence.store import MeasurementStore
from mlbroker.broker.words import count


def check(request: CheckRequest, sources: Sources, state: Path, listener: Listener) -> CostCheck:
    """Price what changed; of the `sources`, those that hold for all jobs on both sides."""
    now = now_or_pinned()
    book = with_nodes(book_of(state, sources.prices, listener, now), state, sources.nodes)
    refuse_unknown_type(request.takes, book)
    return run_check(request, book, MeasurementStore(state), now)


def verdict(found: CostCheck) -> MlbrokerError | None:
    """What the check ends with: what could not be read weighs most, then limits."""
    if found.broken:
        told = [str(job.pair.problem).replace("\n  ", ": ") for job in found.broken[:5]]
        more = [f"and {len(found.broken) - 5} more"] if len(found.broken) > 5 else []
        return InputError(
            f"{count(len(found.broken), 'job file')} cannot be read",
            hint="\n  ".join(told + more),
        )
    if found.crossed:
        told = [
            f"--{crossing.limit}: {crossing.job.pair.path} ({crossing.job.pair.name})"
            f" {crossing.message}"
            for crossing in found.crossed
        ]
        return ThresholdCrossed(f"{count(len(told), 'limit')} crossed", hint="\n  ".join(told))
    if found.infeasible:
        told = [f"{job.pair.path} ({job.pair.name})" for job in found.infeasible[:5]]
        return NothingFeasible(
            f"nothing feasible for {count(len(found.infeasible), 'job')}", hint=", ".join(told)
        )
    return None
