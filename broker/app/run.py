"""A run under a cap: find its machines and what they may cost at most, then reserve that."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from mlbroker.broker.app.adapting import adapt_terms
from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.node_counts import counted
from mlbroker.broker.app.own_quote import own_quote, refuse_several
from mlbroker.broker.app.payload import pack, spec_of
from mlbroker.broker.app.promise import Beside, promised
from mlbroker.broker.app.queueing import Options, asked_of, other_rules
from mlbroker.broker.app.sources import (
    Sources,
    check_filters,
    deadline_place,
    evidence_of,
    own_runs_of,
    refuse_unknown_place,
    refuse_unknown_type,
    refuse_what_is_not_run,
    solver_of,
    warn_of_unknown,
    with_nodes,
    within_reach,
)
from mlbroker.broker.app.spot_regions import Offered, Planned, other_regions, placed
from mlbroker.broker.clouds import CLOUDS, opener
from mlbroker.broker.clouds.interface import Cloud, Denied
from mlbroker.broker.errors import CloudError, InputError, RefusedError
from mlbroker.broker.evidence import facts as evidence_facts
from mlbroker.broker.files.nodes import ENVIRONMENT, ON_PREM
from mlbroker.broker.guest.output import LEAST_MASKED, unmasked
from mlbroker.broker.judge import file_of, judge_of
from mlbroker.broker.ledger import RESUMES, SHARES_CAP, Ledger, Run, Share, State, open_ledger
from mlbroker.broker.pipelines.record import StageFact
from mlbroker.broker.plan_words import nothing_chosen
from mlbroker.broker.prices.price_book import open_book
from mlbroker.broker.prices.shortages import lately
from mlbroker.broker.queue.terms import QUEUE, Asked, Terms
from mlbroker.broker.runs import launch
from mlbroker.broker.runs.admission import PolicyAdmission, admitted
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.launch import bring_checkpoint
from mlbroker.broker.runs.launch_options import deadline_at, own_machine, planned
from mlbroker.broker.runs.order import LaunchOption, Order, SpotTerms, kind_of
from mlbroker.broker.runs.placing import pools_of, waits_at
from mlbroker.broker.runs.zones import by_zone, launchable_in, why_not_in
from mlbroker.broker.team import refuse_other_ledger
from mlbroker.broker.words import exact_usd
from mlbroker.policies.candidates import Filters
from mlbroker.policies.planner.plan import PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.policies.quote import Quote
from mlbroker.pricing.billing import WorstCase
from mlbroker.pricing.vendors import LOCAL
from mlbroker.profiles.job import Job
from mlbroker.profiles.prediction import Evidence

if TYPE_CHECKING:
    from mlbroker.policies.guardrails.judge import Judge

# For each type the plan keeps the best region: so many types are enough to fail over.
RUNNERS_UP = 300
# Clocks of machines that share a ledger differ by seconds.
CLOCK_TOLERANCE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to run, where it may, and what to do when it goes wrong.

    `on` names this machine or a node, in place of a plan. `new_cap`: the job's budget is meant for
    this run, and not for all that it `resumes`. `guest_late_s` is as in Intent. `queue`: its
    options where it waits. `share`: what it is one of several runs of. `beside` are files
    that travel with the job's own, `inputs` is where a stage of a pipeline finds what it is given,
    and `stage` what the books keep of it. `measured_as` is the job whose measurements speak for the
    run, where it is a lane of that job's trials.
    """

    job: Job
    job_path: Path
    on: str | None = None
    local_price_usd: Decimal | None = None
    filters: Filters = Filters()
    sources: Sources = Sources()
    project: str | None = None
    resumes: str | None = None
    new_cap: bool = False
    on_overrun: str | None = None
    stop_when_idle_s: float | None = None
    dry_run: bool = False
    guest_late_s: int = 0
    queue: Options = Options()
    share: Share | None = None
    beside: Mapping[str, bytes | Path] = field(default_factory=dict)
    inputs: str | None = None
    stage: StageFact | None = None
    measured_as: Job | None = None


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """What is about to be done. Nothing is reserved yet.

    `expected` is the quote of the first machine, `beside` what it compares with, `quotes` all that
    would do, best first. With `spot` a policy says which of the `options` comes next, and when.
    `asked`: what the run says where it waits.
    """

    request: RunRequest
    options: tuple[LaunchOption, ...]
    cap_usd: Decimal
    worst: WorstCase
    judge: "Judge | None"
    earlier: Run | None
    now: datetime
    expected: Quote
    beside: Beside
    quotes: Sequence[Quote]
    spot: SpotTerms | None = None
    asked: Asked = Asked()

    def document(self) -> dict[str, object]:
        """As JSON."""
        first = self.options[0]
        return {
            "schema": "mlbroker.run/1",
            "dry_run": True,
            "job": self.request.job.name,
            "cloud": first.cloud,
            "region": first.region,
            "instance_type": first.instance_type,
            "market": first.market,
            "nodes": first.nodes,
            "price_per_hour_usd": exact_usd(first.price_per_hour_usd),
            "budget_usd": exact_usd(self.cap_usd),
            "reserved_usd": exact_usd(self.worst.usd),
            "lifetime_s": float(self.worst.lifetime_s),
            "spot_policy": self.spot and self.spot.policy,
        }


def prepare(request: RunRequest, state: Path, listener: Listener) -> PreparedRun:
    """Find the machines, and what the first of them may cost at most."""
    job, sources, now = request.job, request.sources, Clock().now()
    refuse_what_is_not_run(job, listener, here=request.on == LOCAL)
    if sources.nodes is not None:
        # Processes that carry the run on later read the same file.
        os.environ[ENVIRONMENT] = str(sources.nodes.absolute())
    if request.on is None:
        job = counted(job, request.job_path, request.filters, sources, state).job
        request = replace(request, job=job)
    opened = opener(state)
    judge = judge_of(
        request.job_path, sources.policy, project=request.project, reason=sources.reason
    )
    rules = judge.policy if judge is not None else None
    refuse_other_ledger(rules)
    asked = asked_of(job, request.job_path, rules, request.queue, request.project)
    options: tuple[LaunchOption, ...]
    quotes: Sequence[Quote]
    if request.on is not None:
        evidence = evidence_of(request.measured_as or job, state, None, listener)
        option, quote = _on_one(request, request.on, evidence, state, now, listener)
        options, quotes, beside = (option,), (quote,), Beside.of_own(evidence, state, now)
    elif request.local_price_usd is not None:
        raise InputError("goes with --on local", where="--local-price")
    else:
        (options, plan), again = _planned(request, judge, state, now, opened, listener)
        quotes, beside = plan.quotes, Beside.of_plan(plan)
    ledger = open_ledger(state)
    earlier, rest_usd = _earlier(ledger, request, job)
    cap_usd = _cap(job) if rest_usd is None else rest_usd

    def zoned(some: Sequence[LaunchOption]) -> tuple[LaunchOption, ...]:
        try:
            return by_zone(some, opened, lately(state, now), listener.note)
        except CloudError as error:
            if not request.dry_run:
                raise
            listener.warn(str(error))
            return tuple(some)

    def others(first: Offered) -> list[Offered]:
        return other_regions(first, job, request.filters, again, opened, listener)

    options, spot = placed(admitted(judge, options), quotes[0], judge, ledger, zoned, others)
    traits = opened(options[0].cloud).traits
    worst = launch.worst_case(options[0], cap_usd, traits, request.guest_late_s)
    first = kind_of(options[0])
    alike = (q for q in quotes if (q.cloud, q.region, q.instance_type, q.market.value) == first)
    expected = next(alike)
    prepared = PreparedRun(
        request, options, cap_usd, worst, judge, earlier, now, expected, beside, quotes, spot, asked
    )
    if request.dry_run and judge is not None:
        _ask_policy(prepared, ledger)
    return prepared


@contextmanager
def reserve(
    prepared: PreparedRun, secrets: Mapping[str, str], state: Path, listener: Listener
) -> Iterator[Run]:
    """The run, its worst case reserved; inside the block nobody but the caller carries it."""
    request, job = prepared.request, prepared.request.job
    measured = request.measured_as or job
    order = Order(
        run_id=launch.new_run_id(prepared.now),
        job=job.name,
        candidates=prepared.options,
        spec=spec_of(job, request.job_path, request.stop_when_idle_s, request.inputs),
        secrets=job.secrets,
        steps=job.work.steps if job.work else None,
        deadline_at=deadline_at(job, prepared.now),
        on_overrun=request.on_overrun,
        guest_late_s=request.guest_late_s,
        identity=evidence_facts.of(measured, measured=True),
        spot=prepared.spot,
        policy=file_of(request.job_path, request.sources.policy),
        batch=job.batch,
        adapt=adapt_terms(job, prepared.options, state, steered=prepared.spot is not None),
    )
    for name in unmasked(dict(secrets)):
        listener.warn(
            f"the secret {name}, or a line of it, is shorter than {LEAST_MASKED} characters: "
            "the log may show it"
        )
    folder = RunFolder.of(state, order.run_id)
    facts: dict[str, object] = {
        "fingerprint": measured.fingerprint(),
        "reason": request.sources.reason,
        **promised(prepared.expected, prepared.beside, order.deadline_at),
        **_queue_terms(prepared, state),
        **(request.share.body() if request.share else {}),
        **(request.stage.body() if request.stage else {}),
    }
    with folder.carried():
        with launch.nothing_stays(folder):
            travels = job.workdir or request.beside
            if travels and any(option.cloud != LOCAL for option in prepared.options):
                facts |= pack(job.workdir, folder, secrets, listener, request.beside)
            if prepared.earlier is not None:
                facts |= {RESUMES: prepared.earlier.run_id, SHARES_CAP: not request.new_cap}
                bring_checkpoint(RunFolder.of(state, prepared.earlier.run_id), folder)
            at = Clock().now()
            run = launch.reserve(
                open_ledger(state),
                folder,
                order,
                at,
                cap_usd=prepared.cap_usd,
                worst_usd=prepared.worst.usd,
                user=launch.current_user(),
                project=launch.current_project(request.job_path, request.project),
                facts=facts,
                admission=_admission(prepared),
                waits=waits_at(prepared.options, opener(state), state, at),
            )
        if run.state is State.QUEUED and (told := other_rules(run, open_ledger(state).open_runs())):
            listener.warn(told)
        if abs(run.counts_at - run.reserved_at) > CLOCK_TOLERANCE:
            listener.warn(
                f"the ledger is at {run.counts_at:%Y-%m-%d %H:%M} UTC, and the clock here says "
                f"{run.reserved_at:%Y-%m-%d %H:%M}: this run counts against the caps of the former"
            )
        yield run


def _queue_terms(prepared: PreparedRun, state: Path) -> dict[str, object]:
    """What the run says of itself where it may have to queue."""
    pools = pools_of(prepared.options, opener(state))
    if not pools:
        return {}
    asked, job = prepared.asked, prepared.request.job
    # Only from a checkpoint it could go on.
    yields = asked.yields and job.checkpoint is not None
    terms = Terms(*asked, tuple(pools), prepared.options[0].places)
    return {QUEUE: terms._replace(yields=yields).body()}


def _admission(prepared: PreparedRun) -> PolicyAdmission:
    name, usd = prepared.request.job.name, prepared.worst.usd
    return PolicyAdmission(prepared.judge, prepared.options, name, usd)


def _ask_policy(prepared: PreparedRun, ledger: Ledger) -> None:
    """Whether the reservation would be admitted now; otherwise its transaction asks that."""
    ask = _admission(prepared)
    verdict = ask(ledger.accounts(), ledger.unused_approvals(), prepared.now)
    if verdict.refusal is not None:
        raise RefusedError(verdict.refusal, hint=verdict.hint)


def _on_one(
    request: RunRequest,
    name: str,
    evidence: Evidence,
    state: Path,
    now: datetime,
    listener: Listener,
) -> tuple[LaunchOption, Quote]:
    refuse_several(request.job, request.job_path)
    file = request.sources.nodes
    option = own_machine(
        name, request.local_price_usd, file, state, listener.note, request.job.resources
    )
    return own_quote(option, evidence, state, file, now)


def _planned(
    request: RunRequest,
    judge: "Judge | None",
    state: Path,
    now: datetime,
    opened: Callable[[str], Cloud],
    listener: Listener,
) -> tuple[Planned, Callable[[Filters], Planned]]:
    """The plan's machines, best first, and the plan; planned anew where its choice cannot be
    launched. And what plans again, elsewhere.
    """
    job, wanted, sources = request.job, request.filters, request.sources
    book = with_nodes(open_book(state, sources.prices), state, sources.nodes)
    book = within_reach(book, state, job)
    check_filters(wanted, book)
    refuse_unknown_type(job.takes, book, request.job_path)
    refuse_unknown_place(job, request.job_path, book)
    warn_of_unknown(job, book, listener)
    evidence = evidence_of(request.measured_as or job, state, sources.measure, listener)
    kinds = [kind for _, _, kind in book.types()]
    planner = Planner(book, now)
    solver, own = solver_of(evidence, state), own_runs_of(evidence, state, listener)

    def options(where: Filters) -> Planned:
        asked = PlanRequest(
            job, evidence, where, judge, top=RUNNERS_UP, solver=solver, own_runs=own
        )
        plan = planner.plan(asked)
        if plan.choice is None and set(where.regions) == {ON_PREM}:
            refuse_several(job, request.job_path)
        if plan.choice is None:
            raise nothing_chosen(plan, deadline_place(job, request.job_path))
        return planned(job, plan.quotes, book, CLOUDS), plan

    found = options(wanted)
    best = found[0][0]
    try:
        why = _why_not(best, opened)
        if why is None:
            return found, options
        listener.note(
            f"Note: the plan's choice, {best.instance_type} in {best.region}, cannot be launched: "
            f"{why}"
        )
        where = launchable_in(wanted, kinds, opened, listener.note)
    except CloudError as error:
        if not request.dry_run:
            raise
        listener.warn(str(error))
        return found, options
    listener.note(f"Planned again for where it can be: {', '.join(where.regions)}.")
    return options(where), options


def _why_not(option: LaunchOption, opened: Callable[[str], Cloud]) -> str | None:
    """Why this account cannot launch there, and what to do about it; None where it can."""
    try:
        return why_not_in(opened(option.cloud), option.cloud, option.region)
    except (Denied, InputError) as error:
        return str(error)


def _cap(job: Job) -> Decimal:
    if job.budget_usd is None:
        raise RefusedError(
            "the run has no budget, and without a cap nothing is launched",
            hint="Give --budget USD, or write `budget: 25 USD` in the broker block.",
        )
    return job.budget_usd


def _earlier(ledger: Ledger, request: RunRequest, job: Job) -> tuple[Run | None, Decimal | None]:
    """The run to go on from, and what it left where that is the cap; the ledger asks again."""
    if request.resumes is None:
        return None, None
    earlier = ledger.find(request.resumes)
    if earlier.job != job.name:
        raise InputError(f"run {earlier.run_id} was of job {earlier.job}, not {job.name}")
    lineage = ledger.lineage(earlier.run_id)
    lineage.refuse_twin()
    return earlier, None if request.new_cap else lineage.rest_usd()
