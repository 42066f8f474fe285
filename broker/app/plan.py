"""A plan for a job: what is read for it, the decision, and what a person wants to see beside it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.node_counts import counted
from mlbroker.broker.app.sources import (
    Sources,
    book_of,
    check_filters,
    deadline_place,
    evidence_of,
    measured_in,
    own_runs_of,
    refuse_unknown_place,
    refuse_unknown_type,
    solver_of,
    warn_of_unknown,
    with_nodes,
    within_reach,
)
from mlbroker.broker.evidence.capacities import capacities_of, nearest_capacity
from mlbroker.broker.evidence.store import MeasurementStore
from mlbroker.broker.judge import judge_of
from mlbroker.broker.plan_words import (
    ended_by_its_cap_words,
    nothing_chosen,
    rare_checkpoint_words,
    replicas_words,
    strictly_spot_words,
    traffic_words,
)
from mlbroker.broker.words import money
from mlbroker.policies.candidates import Filters
from mlbroker.policies.embodied import Embodied
from mlbroker.policies.planner.book import Book
from mlbroker.policies.planner.cached_book import CachedBook
from mlbroker.policies.planner.node_counts import AtCount
from mlbroker.policies.planner.plan import Plan, PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.pricing.embodied import Servers
from mlbroker.pricing.offer import Market
from mlbroker.profiles.job import Job
from mlbroker.profiles.prediction import Evidence
from mlbroker.profiles.service import Measured, Traffic

if TYPE_CHECKING:
    from mlbroker.broker.app.plan_batches import Batches
    from mlbroker.policies.planner.batch_advice import MoreGpus
    from mlbroker.policies.service.demand import Chosen


class PlanQuery(NamedTuple):
    """For which job, and among what. `top` quotes are worked out (0: all).

    With `explain`, every rejection; with a `type_name`, what concerns it; with `embodied`, what
    making the machines emitted.
    """

    job: Job
    job_path: Path
    filters: Filters = Filters()
    sources: Sources = Sources()
    top: int = 10
    explain: bool = False
    type_name: str | None = None
    embodied: bool = False


class Planned(NamedTuple):
    """The plan, and what it was made from; `embodied` where that was asked for, `batches` where the
    job has one that may be another, `more_gpus` than the choice's where reasons are asked for. Of a
    service: what a replica was `measured` to serve, and the machines that were `chosen` for its
    traffic, where capacities are known. `counts`: what each number of nodes would do, where that
    was to be chosen.
    """

    plan: Plan
    book: Book
    evidence: Evidence
    request: PlanRequest
    embodied: Embodied | None = None
    batches: "Batches | None" = None
    more_gpus: "Sequence[MoreGpus]" = ()
    measured: Measured | None = None
    chosen: "Chosen | None" = None
    counts: tuple[AtCount, ...] = ()


def plan(query: PlanQuery, state: Path, listener: Listener) -> Planned:
    """Make the plan. One without a choice is a value too: see `plan_words.nothing_chosen`."""
    sources = query.sources
    job, counts = counted(query.job, query.job_path, query.filters, sources, state)
    book = with_nodes(book_of(state, sources.prices, listener), state, sources.nodes)
    book = within_reach(book, state, job)
    check_filters(query.filters, book)
    refuse_unknown_type(job.takes, book, query.job_path)
    refuse_unknown_place(job, query.job_path, book)
    warn_of_unknown(job, book, listener)
    if query.type_name is not None:
        check_filters(Filters(instance_types=(query.type_name,)), book, types_from="--explain")
    evidence = (
        Evidence(job.without_duration())
        if job.replicas
        else evidence_of(job, state, sources.measure, listener)
    )
    request = PlanRequest(
        evidence.job,
        evidence,
        query.filters,
        judge=judge_of(query.job_path, sources.policy, reason=sources.reason),
        top=0 if query.type_name else query.top,
        explain=query.explain,
        # Where nothing is known, a measurement here costs nothing and comes first. Machines are
        # launched to measure a job of one node alone.
        advise=bool(evidence.measurements or evidence.history) and job.num_nodes == 1,
        solver=solver_of(evidence, state),
        own_runs=own_runs_of(evidence, state, listener),
    )
    told_of_spot = not query.filters.markets and any(o.market_assumed for o in job.resources)
    planner = Planner(CachedBook(book) if told_of_spot else book, datetime.now(UTC))
    made = planner.plan(request)
    if made.constraints.deadline_has_passed:
        raise nothing_chosen(made, deadline_place(job, query.job_path))
    if strictly := strictly_spot_words(job):
        listener.note(strictly)
    if rare := rare_checkpoint_words(made):
        listener.warn(rare)
    if job.budget_usd is not None and made.choice is not None:
        from mlbroker.broker.app.promise import enough_for_choice

        enough = enough_for_choice(job, made.choice, book, state)
        if enough is not None:
            listener.warn(ended_by_its_cap_words(enough))
    if told_of_spot:
        _tell_of_spot(made, request, planner, listener)
    chosen, planned_on = None, None if made.choice is None else made.choice.instance_type
    known = capacities_of(job, MeasurementStore(state).for_job(job) if job.replicas else ())
    measured = nearest_capacity(known, planned_on)
    if job.service is not None and job.service.traffic != Traffic():
        from mlbroker.broker.app.service_mix import choose_machines

        chosen = choose_machines(request, made, planner, book, query.job_path, known, listener)
    if job.replicas is not None and made.choice is not None:
        choice = made.choice
        listener.note(replicas_words(job.replicas, choice.hourly_usd))
        traffic = traffic_words(job, choice.hourly_usd, measured, choice.instance_type)
        if traffic and (chosen is None or chosen.guess):
            listener.note(traffic)
    embodied = Embodied(Servers(kind for _, _, kind in book.types())) if query.embodied else None
    batches = None
    more: Sequence[MoreGpus] = ()
    # Before the import: most jobs have no batch, and few plans are to be explained.
    if job.batch is not None:
        from mlbroker.broker.app.plan_batches import batches_of

        batches = batches_of(made, request, planner, state, measured_in(sources.measure, job))
    if query.explain and query.type_name is None:
        from mlbroker.broker.app.plan_batches import larger_machines

        more = larger_machines(made, request, planner)
    return Planned(made, book, evidence, request, embodied, batches, more, measured, chosen, counts)


def _tell_of_spot(made: Plan, request: PlanRequest, planner: Planner, listener: Listener) -> None:
    """What spot would cost in place of the choice on demand, which the file did not ask for."""
    spot = request.filters._replace(markets=(Market.SPOT,))
    asked = request._replace(filters=spot, top=1, explain=False, advise=False)
    best = planner.plan(asked).choice
    if best is None:
        return
    here = made.choice
    usd, unit = best.hourly_usd, "USD an hour"
    other = None if here is None else here.hourly_usd
    if best.cost_usd is not None and here is not None and here.cost_usd is not None:
        usd, other, unit = best.cost_usd.expected, here.cost_usd.expected, "USD"
    if other is not None and usd >= other:
        return
    beside = "" if other is None else f" in place of {money(other)}"
    name = f"{best.instance_type} in {best.region}"
    listener.note(f"On spot {name} would cost {money(usd)} {unit}{beside}: --market spot.")
