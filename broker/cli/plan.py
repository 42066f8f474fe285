"""`mlbroker plan`: read the job, make the plan, show it."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlbroker.broker.errors import InputError, MlbrokerError, NothingFeasible
from mlbroker.broker.files.job_file import load_job
from mlbroker.broker.files.job_flags import override
from mlbroker.broker.home import home, policy_path
from mlbroker.broker.measure.fitted import learnt
from mlbroker.broker.measure.store import MeasurementStore
from mlbroker.broker.numbers import load_numpy
from mlbroker.broker.output import print_json, say, warn
from mlbroker.broker.plan_document import plan_document
from mlbroker.broker.prices.price_book import open_book
from mlbroker.policies.candidates import Filters
from mlbroker.policies.planner.book import Book
from mlbroker.policies.planner.plan import Plan, PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.pricing.offer import Market
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Evidence

if TYPE_CHECKING:
    from mlbroker.policies.veto import Veto

EVERYTHING = "*"


def command(
    job: Annotated[
        Path, typer.Argument(help="Job file (a SkyPilot task, with broker: if you like).")
    ],
    deadline: Annotated[str | None, typer.Option(help="6h, 90m, or a time with zone.")] = None,
    budget: Annotated[str | None, typer.Option(help="Most the run may cost, in USD.")] = None,
    confidence: Annotated[str | None, typer.Option(help="Chance a quote must reach (0.9).")] = None,
    objective: Annotated[
        str | None, typer.Option(help="cost, time, carbon, or 0.1/kg (USD per kg CO2e).")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="The whole work, in steps.")] = None,
    epochs: Annotated[int | None, typer.Option(help="The whole work, in epochs.")] = None,
    steps_per_epoch: Annotated[int | None, typer.Option(help="With --epochs.")] = None,
    cloud: Annotated[list[str] | None, typer.Option(help="Only this cloud (repeatable).")] = None,
    region: Annotated[list[str] | None, typer.Option(help="Only this region (repeatable).")] = None,
    market: Annotated[
        list[Market] | None, typer.Option(help="Only on_demand, or only spot.")
    ] = None,
    instance_type: Annotated[
        list[str] | None, typer.Option(help="Only this machine type (repeatable).")
    ] = None,
    measure: Annotated[
        Path | None, typer.Option(help="A measurements table to use for this call.")
    ] = None,
    prices: Annotated[
        Path | None, typer.Option(help="A price file to use in place of the book, for this call.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="Policy file; else mlbroker-policy.yaml upward.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="Why a GPU, where the policy wants a reason.")
    ] = None,
    nodes: Annotated[
        Path | None, typer.Option(help="Your own machines (else MLBROKER_NODES or nodes.yaml).")
    ] = None,
    top: Annotated[int, typer.Option(min=0, help="Quotes to show; 0 shows all.")] = 10,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="[TYPE]", help="Say why every other machine, or TYPE, was not picked."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Name the cheapest machine that meets the deadline, and why.

    Exit codes: 0 a machine was chosen, 2 bad input, 4 nothing feasible (what would have to
    change is said, and --json still prints the document).
    """
    loaded = load_job(job).job
    wanted = override(
        loaded,
        deadline=deadline,
        budget=budget,
        confidence=confidence,
        objective=objective,
        steps=steps,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
    )
    if wanted.ignored:
        say(f"Ignored, as mlbroker has no use for it: {', '.join(wanted.ignored)}")
    book = open_book(home(), prices)
    for notice in book.notices:
        warn(notice)
    shelf = within_reach(with_nodes(book, nodes), wanted)
    filters = Filters.of(cloud, region, market, instance_type)
    check_filters(filters, shelf)
    warn_of_unknown(wanted, shelf)
    one = explain if explain not in (None, EVERYTHING) else None
    if one is not None:
        check_filters(Filters(instance_types=(one,)), shelf, types_from="--explain")
    evidence = gather_evidence(wanted, measure)
    request = PlanRequest(
        wanted,
        evidence,
        filters,
        judge=veto_of(job, policy, reason, shelf),
        top=0 if one else top,
        explain=explain is not None,
    )
    plan = Planner(shelf, datetime.now(UTC)).plan(request)
    if plan.constraints.deadline_has_passed:
        raise nothing_chosen(plan)
    if json:
        print_json(plan_document(plan, explain=explain is not None))
    else:
        from mlbroker.broker.cli import plan_view
        from mlbroker.broker.prices.shortages import lately
        from mlbroker.broker.prices.terms import own_currency

        if one is not None:
            plan_view.show_type(plan, one)
        else:
            plan_view.show(plan, explain=explain is not None, currency=own_currency(home()))
            plan_view.show_short_zones(plan, lately(home(), plan.generated_at))
            plan_view.show_next_probe(plan, shelf, evidence)
    if plan.choice is None:
        raise nothing_chosen(plan)


def gather_evidence(job: Job, table: Path | None) -> Evidence:
    """Measurements of this job, and of others, from the store and from a table of this call."""
    store = MeasurementStore(home())
    own = store.for_job(job)
    history: list[Measurement] = []
    if table is not None:
        from mlbroker.broker.measure.table import read_measurements

        rows = read_measurements(table)
        own += [row for row in rows if row.job == job.name]
        history = [row for row in rows if row.job != job.name]
        if not any(row.job == job.name for row in rows):
            warn(f"{table} has no row with job {job.name!r}")
    if not own:
        outdated = store.outdated(job)
        if outdated:
            reasons = ", ".join(outdated[-1].reasons)
            say(f"Measured before, but not as it is now ({reasons}): measure it again.")
        return Evidence(job)  # others' times say nothing of a job that was never measured
    history = [*store.history(job), *history]
    if history or len(own) > 1:
        load_numpy()  # there is something to predict from
    return Evidence(job, own, history, learnt(store.home))


def with_nodes(book: Book, option: Path | None) -> Book:
    """The book with the user's own machines in it, where there is a file of them."""
    path = home() / "nodes.yaml"
    if option is None and "MLBROKER_NODES" not in os.environ and not path.exists():
        return book
    from mlbroker.broker.files.nodes import load_nodes, nodes_file
    from mlbroker.broker.prices.own_nodes import WithNodes

    chosen = nodes_file(home(), option)
    if chosen is None:
        return book
    gpus = {
        kind.hardware.gpu.model: kind.hardware.gpu
        for _, _, kind in book.types()
        if kind.hardware.gpu is not None
    }
    return WithNodes(book, load_nodes(chosen, gpus), datetime.now(UTC).date())


def within_reach(book: Book, job: Job) -> Book:
    """The book without what the account cannot have now: beyond its quota, or short lately."""
    folder = home()
    if not (folder / "quotas.json").exists() and not (folder / "capacity.sqlite").exists():
        return book
    from mlbroker.broker.prices.availability import available_book

    return available_book(book, folder, job.num_nodes, job.resources[0].zone, datetime.now(UTC))


def veto_of(job: Path, option: Path | None, reason: str | None, book: Book) -> "Veto | None":
    """The policy that guards this job's money, None where there is none."""
    path = policy_path(job, option)
    if path is None:
        return None
    from mlbroker.broker.files.policy_file import load_policy
    from mlbroker.broker.runs.launch import current_project, current_user
    from mlbroker.policies.guardrails import Who
    from mlbroker.policies.veto import Veto

    who = Who(current_user(), current_project(job, None))
    return Veto(load_policy(path), who, reason, book.regions())


def check_filters(filters: Filters, book: Book, types_from: str = "--instance-type") -> None:
    """Refuse names that the book does not know, with the nearest that it does."""
    kinds = [kind for _, _, kind in book.types()] if filters.instance_types else []
    places = list(book.regions().values()) if filters.clouds or filters.regions else []
    for flag, wanted, known in (
        ("--cloud", filters.clouds, {place.cloud for place in places}),
        ("--region", filters.regions, {place.name for place in places}),
        (types_from, filters.instance_types, {kind.name for kind in kinds}),
    ):
        for name in wanted:
            if name not in known:
                raise InputError(
                    f"{name!r} is not in the price book", where=flag, hint=near(name, known)
                )
    if filters.clouds:
        here = {place.name for place in places if place.cloud in filters.clouds}
        for name in filters.regions:
            if name not in here:
                raise InputError(
                    f"{name!r} is no region of {' or '.join(filters.clouds)}",
                    where="--region",
                    hint=near(name, here),
                )


def warn_of_unknown(job: Job, book: Book) -> None:
    """Names in the job's resources that the book does not know: mistyped, or without a price."""
    places = book.regions().values()
    for option in job.resources:
        regions = {place.name for place in places if option.cloud in (None, place.cloud)}
        names = [
            ("cloud", option.cloud, {place.cloud for place in places}),
            ("region", option.region, regions or {place.name for place in places}),
        ]
        if option.instance_type is not None:
            kinds = {kind.name for _, _, kind in book.types()}
            names.append(("instance_type", option.instance_type, kinds))
        for field, name, known in names:
            if name is not None and name not in known:
                warn(f"resources: {field} {name!r} is not in the price book: {near(name, known)}")


def near(name: str, known: set[str]) -> str:
    """A hint with the nearest known name."""
    import difflib

    close = difflib.get_close_matches(name, sorted(known), n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"known are {', '.join(sorted(known)[:8])}{' …' if len(known) > 8 else ''}"


def nothing_chosen(plan: Plan) -> MlbrokerError:
    """Exit 4, with what would have to change; exit 2 where it is the deadline, which has passed."""
    from mlbroker.broker.cli import plan_view

    if plan.constraints.deadline_has_passed:
        return plan_view.past_deadline()
    return NothingFeasible(
        "no machine meets the job's needs, deadline and budget", hint=plan_view.way_out(plan)
    )
