"""What a decision is made from besides the job, and the names in it that nobody knows."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.errors import InputError, MlbrokerError
from mlbroker.broker.evidence.answers import Answers
from mlbroker.broker.evidence.batches import chosen_batches, of_own_batch
from mlbroker.broker.evidence.store import MeasurementStore, learnt
from mlbroker.broker.files.env_flags import EnvFlags, parse_env
from mlbroker.broker.files.job_file import JobFile, load_job
from mlbroker.broker.files.job_flags import override
from mlbroker.broker.files.yaml_fields import nearest_hint
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.broker.home import named_file, present
from mlbroker.broker.numbers import load_numpy
from mlbroker.broker.prices.price_book import PriceBook, open_book
from mlbroker.policies.candidates import Filters
from mlbroker.policies.planner.book import Book
from mlbroker.policies.planner.plan import Plan
from mlbroker.pricing.gpu_names import GPU_MODELS
from mlbroker.pricing.launchable import Launch
from mlbroker.pricing.vendors import vendor
from mlbroker.profiles.estimators.measured import in_steps
from mlbroker.profiles.job import Job, StatedTime
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Evidence

if TYPE_CHECKING:
    from mlbroker.policies.spot.programme import Solver
    from mlbroker.policies.spot.rates import OwnRuns


class Sources(NamedTuple):
    """The files of one call that a plan is made from, in place of the usual ones or beside them."""

    measure: Path | None = None
    prices: Path | None = None
    nodes: Path | None = None
    policy: Path | None = None
    reason: str | None = None


def job_of(
    path: Path,
    listener: Listener,
    *,
    env: Sequence[str] | None = None,
    to_run: bool = False,
    placed: bool = False,
    stage: str | None = None,
    **flags: Any,
) -> Job:
    """The job of a file with the flags of this call in place of its own values.

    How it was read is said; what keeps it from a run too, unless it is `to_run`, where that is
    refused soon. Of a job that is `placed` already, no needs are told. A pipeline's file has a job
    for each `stage`.
    """
    if stage is None:
        file = load_job(path, parse_env(env), needs_folder=to_run)
    else:
        file = _stage_of(path, stage, parse_env(env), to_run=to_run)
    job = override(file.job, **flags)
    if job.ignored:
        listener.note(f"Ignored, as mlbroker has no use for it: {', '.join(job.ignored)}")
    for sentence in () if placed else job.said:
        listener.note(sentence)
    if job.study is not None and not to_run:
        listener.note("The file describes a study (`tune:`): the plan is of one whole trial.")
    if job.not_run and not to_run:
        listener.note(f"For a plan only; `mlbroker run` would refuse it: {'; '.join(job.not_run)}.")
    return job


def _stage_of(path: Path, stage: str, env: EnvFlags, *, to_run: bool) -> JobFile:
    from mlbroker.broker.files.pipeline_file import load_pipeline

    pipeline = load_pipeline(path, env, needs_folder=to_run)
    if pipeline is None:
        load_job(path, env, needs_folder=to_run)  # says what else is wrong with the file
        raise InputError(
            f"{path} holds one job and no stages", where="--stage", hint="leave it out"
        )
    names = {file.job.name: file for file in pipeline.stages}
    if stage not in names:
        what = f"there is no stage {quoted(stage)} in {path}"
        raise InputError(what, where="--stage", hint=nearest_hint(stage, names))
    return names[stage]


def refuse_what_is_not_run(job: Job, listener: Listener, *, here: bool) -> None:
    """Refuse a job of which a part would be missing when it runs.

    `here`, on this machine, what is mounted elsewhere may be at its place: it is only said.
    """
    if job.study is not None:
        names = ", ".join(job.study.space)
        hint = "take `tune:` out of the file, and give the variables under `envs:` or by --env"
        raise InputError(f"tune: a run is one trial, and has no values of {names}", hint=hint)
    if not job.not_run:
        return
    if job.replicas is not None:
        up = "sky jobs pool apply" if job.service is None else "sky serve up"
        raise InputError(
            "; ".join(job.not_run),
            hint=f"start it with its own engine (`{up}`); `mlbroker plan` says what it costs",
        )
    if here and job.command:
        for reason in job.not_run:
            listener.warn(reason)
        return
    raise InputError("; ".join(job.not_run), hint="`mlbroker plan` prices the job all the same")


def book_of(
    state: Path, prices: Path | None, listener: Listener, now: datetime | None = None
) -> PriceBook:
    """The price book, or a file in its place; what is odd about it is said."""
    book = open_book(state, prices, today=None if now is None else now.date())
    for notice in book.notices:
        listener.warn(notice)
    return book


def with_nodes(book: Book, state: Path, option: Path | None) -> Book:
    """The book with the user's own machines in it, where there is a file of them."""
    if option is None and named_file(state / "nodes.yaml", "MLBROKER_NODES", os.environ) is None:
        return book
    from mlbroker.broker.files.nodes import load_nodes, nodes_file
    from mlbroker.broker.prices.own_nodes import WithNodes

    chosen = nodes_file(state, option)
    if chosen is None:
        return book
    gpus = {
        kind.hardware.gpu.model: kind.hardware.gpu
        for _, _, kind in book.types()
        if kind.hardware.gpu is not None
    }
    return WithNodes(book, load_nodes(chosen, gpus), datetime.now(UTC).date())


def within_reach(book: Book, state: Path, job: Job) -> Book:
    """The book without what the account cannot have now: beyond its quota, or short lately."""
    if not present(state / "quotas.json") and not present(state / "capacity.sqlite"):
        return book
    from mlbroker.broker.prices.availability import available_book

    return available_book(book, state, job.num_nodes, job.resources[0].zone, datetime.now(UTC))


def evidence_of(job: Job, state: Path, table: Path | None, listener: Listener) -> Evidence:
    """Measurements of this job, and of others, from the store and from a table of this call."""
    store = MeasurementStore(state)
    own = store.for_job(job)
    history: list[Measurement] = []
    mine: list[Measurement] = []
    if table is not None:
        from mlbroker.broker.measure.table import read_measurements

        rows = read_measurements(table)
        mine = [row for row in rows if row.job == job.name]
        own += of_own_batch(job, mine)
        history = [row for row in rows if row.job != job.name]
        if not mine:
            listener.warn(f"{table} has no row with job {job.name!r}")
    if not own:
        outdated = store.outdated(job)
        if outdated:
            reasons = ", ".join(outdated[-1].reasons)
            listener.note(f"What was measured as {job.name} was another job ({reasons}).")
        return Evidence(job)  # others' times say nothing of a job that was never measured
    history = [*store.history(job), *history]
    own = in_steps(job, own)
    batches = chosen_batches(job, store, mine)
    return Evidence(job, own, history, learnt(state), memory=Answers(state), batches=batches)


def measured_in(table: Path | None, job: Job) -> list[Measurement]:
    """The job's rows of a table of this call, if there is one."""
    if table is None:
        return []
    from mlbroker.broker.measure.table import read_measurements

    return [row for row in read_measurements(table) if row.job == job.name]


def solver_of(evidence: Evidence, state: Path) -> "Solver | None":
    """What solves the spot policy's programmes; None for a job that cannot ask for one."""
    if not _may_fall_back(evidence):
        return None
    load_numpy()
    from mlbroker.broker.programmes import Programmes

    return Programmes(state)


def own_runs_of(evidence: Evidence, state: Path, listener: Listener) -> "OwnRuns | None":
    """What the user's own runs saw of spot machines, for a job that may fall back on demand."""
    if not _may_fall_back(evidence):
        return None
    load_numpy()
    from mlbroker.broker.ledger import open_ledger
    from mlbroker.broker.runs.spot_past import observations
    from mlbroker.policies.spot.rates import OwnRuns

    try:
        return OwnRuns(observations(open_ledger(state)))
    except MlbrokerError as error:
        listener.warn(f"what your runs saw of spot machines is not known: {error}")
        return None


def _may_fall_back(evidence: Evidence) -> bool:
    job = evidence.job
    known = bool(evidence.measurements or job.takes)
    return job.deadline is not None and job.checkpoint is not None and known


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
                    f"{name!r} is not in the price book", where=flag, hint=_near(name, known)
                )
    if filters.clouds:
        here = {place.name for place in places if place.cloud in filters.clouds}
        for name in filters.regions:
            if name not in here:
                raise InputError(
                    f"{name!r} is no region of {' or '.join(filters.clouds)}",
                    where="--region",
                    hint=_near(name, here),
                )


def warn_of_unknown(job: Job, book: Book, listener: Listener) -> None:
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
        if option.cloud is not None and option.cloud not in names[0][2]:
            del names[1:]  # of another cloud no other name is known either
        for field, name, known in names:
            if name is not None and name not in known:
                listener.warn(
                    f"resources: {field} {name!r} is not in the price book: {_near(name, known)}"
                )
    tell_unsold(job, book, listener)


def tell_unsold(job: Job, book: Book, listener: Listener) -> None:
    """Accelerators that nobody sells: the rest of the alternatives is planned with, and which sold
    one is most like each is said.
    """
    asked = [option.requirements.gpu_model for option in job.resources]
    if all(model is None or model in GPU_MODELS for model in asked):
        return
    from mlbroker.pricing.unsold_gpus import figures_of, nearest_sold

    kinds = [kind for _, _, kind in book.types() if kind.hardware.gpu is not None]
    known = {kind.hardware.gpu.model for kind in kinds if kind.hardware.gpu}
    plain = Launch(spot=False, own_image=False)
    sold = [
        kind.hardware.gpu
        for kind in kinds
        if kind.hardware.gpu
        and not kind.retired
        and not vendor(kind.cloud).own
        and vendor(kind.cloud).not_launchable(kind, plain) is None
    ]
    for model in dict.fromkeys(asked):
        if model is None or model in known:
            continue
        near, figures = nearest_sold(model, sold), figures_of(model)
        like = ""
        if near is not None and figures is not None:
            like = (
                f"; of those sold, {near.model} ({near.memory_gib:g} GiB) is most like it"
                f" ({figures.memory_gib:g} GiB a chip) in memory and speed"
            )
        listener.warn(
            f"resources: no cloud of the price book sells {model}, and no node of yours has"
            f" one{like}"
        )


def refuse_unknown_type(takes: StatedTime | None, book: Book, path: Path | None = None) -> None:
    """A time on a machine that nobody knows says nothing of any other.

    It stands in the job file at `path`, or among the options.
    """
    if takes is None:
        return
    known = {kind.name for _, _, kind in book.types()}
    if takes.instance_type not in known:
        what = f"{takes.instance_type!r} is not in the price book"
        own = path is not None and load_job(path, needs_folder=False).job.takes == takes
        where = stated_at(path, "broker.work.on") if path is not None and own else "--takes"
        raise InputError(what, where=where, hint=_near(takes.instance_type, known))


def refuse_unknown_place(job: Job, path: Path, book: Book) -> None:
    """Traffic from a cloud that nobody knows has no price."""
    at = job.data.at
    known = {place.cloud for place in book.regions().values()}
    if at is not None and at.cloud not in known:
        what, where = f"there is no cloud {at.cloud!r}", stated_at(path, "broker.data.at")
        raise InputError(what, where=where, hint=_near(at.cloud, known))


def deadline_place(job: Job, path: Path) -> str:
    """Where a job's deadline stands: in its file, or among the options."""
    own = load_job(path, needs_folder=False).job.deadline == job.deadline
    return stated_at(path, "broker.deadline") if own else "--deadline"


def limit_place(plan: Plan, path: Path) -> str:
    """Where the limit stands that nothing meets: the one to relax, else what is asked for."""
    miss, lines = plan.near_miss, load_job(path, needs_folder=False).lines
    limits = {
        "broker.deadline": miss is not None and miss.deadline_s is not None,
        "broker.budget": miss is not None and miss.budget_usd is not None,
        "resources": True,
    }
    key = next((key for key, is_it in limits.items() if is_it and key in lines), None)
    return str(path) if key is None else stated_at(path, key)


def stated_at(path: Path, key: str) -> str:
    """File, line and key, for a message on what a job file says."""
    lines = load_job(path, needs_folder=False).lines
    return f"{path}:{lines.get(key, 1)}: {key}"


def _near(name: str, known: set[str]) -> str:
    """A hint with the nearest known name."""
    first = f"known are {', '.join(sorted(known)[:8])}{' …' if len(known) > 8 else ''}"
    return nearest_hint(name, sorted(known), first)
