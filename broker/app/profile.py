"""Measure a job: here, on a node, on types launched for it, or on what is worth it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mlbroker.broker.app.listener import Listener, Watcher
from mlbroker.broker.app.own_quote import own_quote
from mlbroker.broker.app.sources import (
    check_filters,
    evidence_of,
    refuse_what_is_not_run,
    with_nodes,
)
from mlbroker.broker.clouds import CLOUDS, opener
from mlbroker.broker.errors import InputError, MlbrokerError, NothingFeasible
from mlbroker.broker.evidence.store import MeasurementStore, relearn
from mlbroker.broker.judge import judge_of
from mlbroker.broker.measure.batches import measure_batches, taken_instead
from mlbroker.broker.measure.carried import REASON, Payer
from mlbroker.broker.measure.extras import doubts
from mlbroker.broker.measure.launched import Campaign
from mlbroker.broker.measure.profile import Profiled, profile_fewer_cores, profile_here
from mlbroker.broker.measure.result import learnt_work
from mlbroker.broker.plan_words import nothing_chosen
from mlbroker.broker.prices.price_book import open_book
from mlbroker.broker.runs.launch import current_project, current_user
from mlbroker.broker.runs.launch_options import own_machine, planned
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.broker.runs.zones import launchable_in
from mlbroker.policies.candidates import Filters
from mlbroker.policies.objective import quote_key
from mlbroker.policies.planner.book import with_hardware
from mlbroker.policies.planner.plan import PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.policies.quote import Quote
from mlbroker.pricing.vendors import LOCAL
from mlbroker.profiles.estimators.stated import nominal
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Basis, Evidence
from mlbroker.profiles.stepping.stopping import StopRule
from mlbroker.profiles.value_of_information import MAX_PROBES

if TYPE_CHECKING:
    from mlbroker.broker.measure.auto import ProbeSearch

# Of so many quotes the cheapest, each type once, may be measured.
MAX_QUOTES = 400
# The whole job, on the machine that is best of those that may stand in for one another.
Expected = tuple[LaunchOption, Quote]


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ProfileRequest:
    """What to measure and where: `auto`, else the types of `filters`, else `on`, else here."""

    job: Job
    job_path: Path
    rule: StopRule
    on: str | None = None
    nodes: Path | None = None
    filters: Filters = Filters()
    auto: bool = False
    scaling: bool = True
    batches: tuple[int, ...] = ()
    html: Path | None = None


@dataclass(frozen=True, slots=True)
class PreparedProfile:
    """What is about to be measured, as a question; `measure` does it, and keeps what it found.

    `expected` is what is known of the job already, on machines that would be paid for.
    """

    question: str
    costs_money: bool
    measure: Callable[[Watcher], list[Measurement]]
    expected: Sequence[Expected] = ()


def prepare(request: ProfileRequest, state: Path, listener: Listener) -> PreparedProfile:
    """Find the machines to measure on. Nothing is started yet."""
    if request.job.replicas is not None:
        return _service(request, state, listener)
    here = not request.auto and not request.filters.instance_types
    here = here and request.on in (None, LOCAL)
    refuse_what_is_not_run(request.job, listener, here=here)
    work = learnt_work(request.job, MeasurementStore(state).for_job(request.job))
    request = replace(request, job=replace(request.job, work=work))
    if request.auto:
        return _auto(request, state, listener)
    if request.filters.instance_types:
        evidence = evidence_of(request.job, state, None, listener)
        return _launched(request, state, *_places(request, evidence, state, listener))
    if request.on is None or request.on == LOCAL:
        return _here(request, state)
    option = own_machine(request.on, None, request.nodes, state, listener.note)
    evidence = evidence_of(request.job, state, None, listener)
    known = own_quote(option, evidence, state, request.nodes, datetime.now(UTC))
    return _launched(request, state, [[option]], [known])


def _here(request: ProfileRequest, state: Path) -> PreparedProfile:
    """On this machine: all cores first, then fewer."""
    job, rule = request.job, request.rule

    def measure(watcher: Watcher) -> list[Measurement]:
        if job.checkpoint and job.workdir:
            kept = Path(job.workdir, job.checkpoint.path)
            if kept.is_dir() and any(kept.iterdir()):
                watcher.warn(
                    f"{kept} is not empty: a job that resumes from it is measured from there on"
                )
        if request.batches:
            known = MeasurementStore(state).for_job(job)
            sizes, note = request.batches, watcher.note
            found = measure_batches(job, sizes, rule, known, watcher.seen, note)
            return _keep(found, state, watcher)
        first = profile_here(job, rule, watcher.seen)
        _draw(request, first)
        rows = [first.measurement]
        if request.scaling:
            rows = profile_fewer_cores(job, rule, first, watcher.seen)
        return _keep(rows, state, watcher)

    question = f"Run {job.name} here for at most {job.profile.max_time_s:g} s to measure it?"
    return PreparedProfile(question, False, measure)


def _service(request: ProfileRequest, state: Path, listener: Listener) -> PreparedProfile:
    """How many requests a second a replica serves: here, on a node, or on launched types."""
    job = request.job
    if job.service is None:
        raise InputError("a pool has no requests to measure", where=str(request.job_path))
    if request.auto:
        raise InputError(
            "what a service serves on a machine is known of none that it was not measured on, so"
            " nothing says which are worth it",
            where="--auto",
            hint="--instance-type c7i.large --instance-type c7i.xlarge measures on both at once",
        )
    for flag, told in (("--html", request.html), ("--max-steps", request.rule.max_steps),
                       ("--batch", request.batches)):  # fmt: skip
        if told:
            raise InputError("has no effect on a service, which has no steps", where=flag)
    from mlbroker.broker.measure.capacity import sample_bodies

    asked = job.service.request
    bodies = [] if asked is None else sample_bodies(asked, request.job_path.parent)
    if request.filters.instance_types:
        endless = replace(request, job=job.without_duration())
        known = Evidence(endless.job)
        return _loaded(request, state, bodies, *_places(endless, known, state, listener))
    if request.on not in (None, LOCAL):
        option = own_machine(request.on, None, request.nodes, state, listener.note)
        return _loaded(request, state, bodies, [[option]], [])

    def measure(watcher: Watcher) -> list[Measurement]:
        from mlbroker.broker.measure.capacity import CapacityOf

        row = CapacityOf(job, bodies, watcher.note).here()
        MeasurementStore(state).add([row])
        return [row]

    question = f"Start {job.name} here, and load it for three minutes?"
    return PreparedProfile(question, False, measure)


def _loaded(
    request: ProfileRequest,
    state: Path,
    bodies: list[str],
    places: Sequence[Sequence[LaunchOption]],
    expected: Sequence[Expected],
) -> PreparedProfile:
    """On machines launched for it, one of each place, each loaded by itself."""
    job = request.job

    def measure(watcher: Watcher) -> list[Measurement]:
        from mlbroker.broker.measure.capacity import CapacityOf

        results = CapacityOf(job, bodies, watcher.note).launched(
            _payer(request, state, watcher), places
        )
        done = _done(results, watcher)
        rows = [row for row, _ in done]
        MeasurementStore(state).add(rows)
        spent_usd = sum((usd for _, usd in done), Decimal(0))
        watcher.note(f"{len(rows)} measured for {spent_usd:.4f} USD.")
        return rows

    names = ", ".join(place[0].instance_type for place in places)
    question = (
        f"Start {job.name} on {names} and load it there for three minutes, for at most"
        f" {job.profile.max_cost_usd} USD in all?"
    )
    return PreparedProfile(question, True, measure, expected)


def _done(results: Sequence[T | MlbrokerError], watcher: Watcher) -> list[T]:
    """What was measured; what was not is said, and raised where nothing was."""
    errors = [result for result in results if isinstance(result, MlbrokerError)]
    done = [result for result in results if not isinstance(result, MlbrokerError)]
    if not done:
        raise errors[0]
    for error in errors:
        watcher.warn(str(error))
    return done


def _launched(
    request: ProfileRequest,
    state: Path,
    places: Sequence[Sequence[LaunchOption]],
    expected: Sequence[Expected],
) -> PreparedProfile:
    """On machines launched for it, one of each place, all at the same time."""
    job = request.job

    def measure(watcher: Watcher) -> list[Measurement]:
        done = _done(_campaign(request, places, state, watcher), watcher)
        _draw(request, done[0])
        return _keep([result.measurement for result in done], state, watcher)

    names = ", ".join(place[0].instance_type for place in places)
    question = (
        f"Measure {job.name} on {names} for at most {job.profile.max_cost_usd} USD and "
        f"{job.profile.max_time_s:g} s each?"
    )
    return PreparedProfile(question, True, measure, expected)


def _places(
    request: ProfileRequest, evidence: Evidence, state: Path, listener: Listener
) -> tuple[list[Sequence[LaunchOption]], list[Expected]]:
    """For each type the machines to measure on, best first, and what is expected on the best."""
    job, book = request.job, open_book(state, None)
    kinds = [kind for _, _, kind in book.types()]
    planner = Planner(book, datetime.now(UTC))
    places: list[Sequence[LaunchOption]] = []
    expected: list[Expected] = []
    for name in dict.fromkeys(request.filters.instance_types):
        wanted = request.filters._replace(instance_types=(name,))
        check_filters(wanted, book)
        # A plan names the best region only: elsewhere it may be had when it is not there.
        open_to_us = launchable_in(wanted, kinds, opener(state), listener.note)
        plans = [
            planner.plan(PlanRequest(job, evidence, one, top=0))
            for one in (open_to_us._replace(regions=(region,)) for region in open_to_us.regions)
        ]
        quotes = [quote for plan in plans for quote in plan.quotes]
        if not quotes:
            raise InputError(
                f"{name} does not meet the job's needs, or is not offered where you can launch",
                where="--instance-type",
                hint=f"`mlbroker plan {request.job_path} --explain {name}` says why.",
            )
        quotes.sort(key=lambda quote: quote_key(job.objective, quote))
        places.append(planned(job, quotes, book, CLOUDS))
        expected.append((places[-1][0], quotes[0]))
    return places, expected


def _auto(request: ProfileRequest, state: Path, listener: Listener) -> PreparedProfile:
    """On the machines that are worth it, one after the other; why no more, is said."""
    job = request.job
    search, expected = _search(request, state, listener)

    def measure(watcher: Watcher) -> list[Measurement]:
        def on_these(
            places: Sequence[LaunchOption], left_usd: Decimal, hopeless_step_s: float | None
        ) -> list[Profiled | MlbrokerError]:
            limited = replace(
                request,
                job=replace(job, profile=replace(job.profile, max_cost_usd=left_usd)),
                rule=replace(request.rule, hopeless_step_s=hopeless_step_s),
            )
            results = _campaign(limited, [[place] for place in places], state, watcher)
            done = [result for result in results if not isinstance(result, MlbrokerError)]
            if done:
                _keep([result.measurement for result in done], state, watcher)
            return results

        outcome = search.run(on_these, watcher.note)
        watcher.note(f"{len(outcome.rows)} measured for {outcome.spent_usd:.4f} USD.")
        if outcome.best is None:
            raise NothingFeasible("the job failed wherever it was measured")
        return outcome.rows

    question = (
        f"Measure {job.name} on the machines that are worth it, for at most "
        f"{job.profile.max_cost_usd} USD in all?"
    )
    return PreparedProfile(question, True, measure, [expected])


def _search(
    request: ProfileRequest, state: Path, listener: Listener
) -> "tuple[ProbeSearch, Expected]":
    """Everything that may be measured, what is known of it, and what is expected on the best."""
    from mlbroker.broker.measure.auto import ProbeSearch, probe_options

    job = request.job
    book = with_nodes(open_book(state, None), state, request.nodes)
    check_filters(request.filters, book)
    kinds = [kind for _, _, kind in book.types()]
    wanted = launchable_in(request.filters, kinds, opener(state), listener.note)
    evidence = with_hardware(book, evidence_of(job, state, None, listener))
    # Deadline and budget are for the chooser: a guess that breaks them is no reason not to measure.
    free = replace(job, deadline=None, budget_usd=None)
    # What an hour costs does not tell on which of them to measure: what work costs does.
    ordered = evidence if job.takes else evidence._replace(hint=nominal(job))
    asked = PlanRequest(free, ordered, wanted, top=MAX_QUOTES)
    plan = Planner(book, datetime.now(UTC)).plan(asked)
    if plan.choice is None:
        raise nothing_chosen(plan)
    launchable = [quote for quote in plan.quotes if quote.cloud in CLOUDS]
    if not launchable:
        raise NothingFeasible("no machine that mlbroker can launch meets the job's needs")
    options = planned(job, launchable, book, CLOUDS)

    def deadline_s() -> float | None:
        return None if job.deadline is None else job.deadline.seconds_from(datetime.now(UTC))

    search = ProbeSearch(
        evidence,
        probe_options(options, launchable, kinds),
        plan.constraints.steps,
        job.profile.max_cost_usd,
        deadline_s,
        job.profile.max_time_s,
        MAX_PROBES,
    )
    best = launchable[0]
    if best.basis is Basis.STATED and not job.takes:  # by the hint that nobody gave
        best = best._replace(duration_h=None, cost_usd=None)
    return search, (options[0], best)


def _campaign(
    request: ProfileRequest,
    places: Sequence[Sequence[LaunchOption]],
    state: Path,
    watcher: Watcher,
) -> list[Profiled | MlbrokerError]:
    return Campaign(
        _payer(request, state, watcher),
        request.rule,
        lambda option, seen: watcher.seen(seen, option.instance_type),
    ).measure(places)


def _payer(request: ProfileRequest, state: Path, watcher: Watcher) -> Payer:
    return Payer(
        request.job,
        state,
        current_user(),
        current_project(request.job_path, None),
        judge_of(request.job_path, None, reason=REASON),
        watcher.note,
    )


def _draw(request: ProfileRequest, done: Profiled) -> None:
    if request.html is None:
        return
    from mlbroker.broker.measure.picture import page

    try:
        text = page(done.measurement, done.seen, request.job)
        request.html.write_text(text, encoding="utf-8")
    except OSError as error:
        where = str(request.html)
        raise InputError(f"cannot be written: {error.strerror}", where=where) from None


def _keep(rows: list[Measurement], state: Path, watcher: Watcher) -> list[Measurement]:
    MeasurementStore(state).add(rows)
    relearn(state)
    for doubt in doubts(rows[0].extra):
        watcher.warn(doubt)
    if (other := taken_instead(rows[0])) is not None:
        told = rows[0].batch_size
        watcher.warn(f"the job file says batch {told}, and the job trains with {other}")
    return rows
