"""The three places where `mlbroker profile` measures: here, on a node, on launched machines."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import typer

from mlbroker.broker.cli.profile_view import Live
from mlbroker.broker.errors import InputError, MlbrokerError, RefusedError
from mlbroker.broker.home import home
from mlbroker.broker.measure.extras import crowded
from mlbroker.broker.measure.fitted import relearn
from mlbroker.broker.measure.profile import Profiled, profile_fewer_cores, profile_here
from mlbroker.broker.measure.store import MeasurementStore
from mlbroker.broker.output import say, warn
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.policies.candidates import Filters
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.stepping.stopping import StopRule


def here(
    job: Job, rule: StopRule, scaling: bool, html: Path | None, yes: bool
) -> list[Measurement]:
    """On this machine: all cores first, then fewer."""
    confirm(f"Run {job.name} here for at most {job.profile.max_time_s:g} s to measure it?", yes)
    if job.checkpoint and job.workdir:
        kept = Path(job.workdir, job.checkpoint.path)
        if kept.is_dir() and any(kept.iterdir()):
            warn(f"{kept} is not empty: a job that resumes from it is measured from there on")
    with Live(job) as live:
        first = profile_here(job, rule, live.show)
        _draw(html, job, first)
        rows = [first.measurement]
        if scaling:
            rows = profile_fewer_cores(job, rule, first, live.show)
    return keep(rows)


def on_node(
    job: Job,
    job_path: Path,
    rule: StopRule,
    name: str,
    nodes: Path | None,
    html: Path | None,
    yes: bool,
) -> list[Measurement]:
    """On a machine of the user's own, by its name in the nodes file."""
    from mlbroker.broker.runs.launch_options import own_machine

    place = [own_machine(name, None, nodes, home())]
    return _launched(job, job_path, rule, [place], html, yes)


def on_types(
    job: Job,
    job_path: Path,
    rule: StopRule,
    where: Filters,
    html: Path | None,
    yes: bool,
) -> list[Measurement]:
    """On machines launched for it, one of each type, all at the same time."""
    from mlbroker.broker.cli.plan import check_filters, gather_evidence
    from mlbroker.broker.clouds import CLOUDS, opener
    from mlbroker.broker.prices.price_book import open_book
    from mlbroker.broker.runs.launch_options import planned
    from mlbroker.broker.runs.zones import launchable_in
    from mlbroker.policies.objective import quote_key
    from mlbroker.policies.planner.plan import PlanRequest
    from mlbroker.policies.planner.planner import Planner

    book = open_book(home(), None)
    regions = book.regions().values()
    kinds = [kind for _, _, kind in book.types()]
    evidence = gather_evidence(job, None)
    planner = Planner(book, datetime.now(UTC))
    places: list[Sequence[LaunchOption]] = []
    for name in dict.fromkeys(where.instance_types):
        wanted = where._replace(instance_types=(name,))
        check_filters(wanted, book)
        # A plan names the best region only: elsewhere it may be had when it is not there.
        plans = [
            planner.plan(PlanRequest(job, evidence, one, top=0))
            for one in _each_region(launchable_in(wanted, kinds, opener(home()), say))
        ]
        quotes = [quote for plan in plans for quote in plan.quotes]
        if not quotes:
            raise InputError(
                f"{name} does not meet the job's needs, or is not offered where you can launch",
                where="--instance-type",
                hint=f"`mlbroker plan {job_path} --explain {name}` says why.",
            )
        quotes.sort(key=lambda quote: quote_key(job.objective, quote))
        places.append(planned(job, quotes, regions, kinds, CLOUDS))
    return _launched(job, job_path, rule, places, html, yes)


def _each_region(wanted: Filters) -> list[Filters]:
    return [wanted._replace(regions=(region,)) for region in wanted.regions]


def _launched(
    job: Job,
    job_path: Path,
    rule: StopRule,
    places: Sequence[Sequence[LaunchOption]],
    html: Path | None,
    yes: bool,
) -> list[Measurement]:
    names = ", ".join(place[0].instance_type for place in places)
    confirm(
        f"Measure {job.name} on {names} for at most {job.profile.max_cost_usd} USD and "
        f"{job.profile.max_time_s:g} s each?",
        yes,
        money=True,
    )
    results = campaign(job, job_path, rule, places)
    done = [result for result in results if not isinstance(result, MlbrokerError)]
    errors = [result for result in results if isinstance(result, MlbrokerError)]
    if not done:
        raise errors[0]
    _draw(html, job, done[0])
    rows = keep([result.measurement for result in done])
    for error in errors:
        warn(str(error))
    return rows


def campaign(
    job: Job, job_path: Path, rule: StopRule, places: Sequence[Sequence[LaunchOption]]
) -> list[Profiled | MlbrokerError]:
    from mlbroker.broker.files.policy_file import find_policy
    from mlbroker.broker.measure.launched import Campaign
    from mlbroker.broker.runs.launch import current_project, current_user
    from mlbroker.policies.guardrails import Who

    with Live(job) as live:
        return Campaign(
            job,
            rule,
            home(),
            Who(current_user(), current_project(job_path, None)),
            find_policy(job_path),
            lambda candidate, seen: live.show(seen, candidate.instance_type),
            live.say,
        ).measure(places)


def _draw(html: Path | None, job: Job, done: Profiled) -> None:
    if html is None:
        return
    from mlbroker.broker.measure.picture import page

    try:
        html.write_text(page(done.measurement, done.seen, job), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=str(html)) from None


def keep(rows: list[Measurement]) -> list[Measurement]:
    MeasurementStore(home()).add(rows)
    relearn(home())
    if warning := crowded(rows[0].extra):
        warn(warning)
    return rows


def confirm(question: str, yes: bool, money: bool = False) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        if money:
            raise InputError(
                "spending needs a yes, and there is nobody to ask", hint="Add --yes to go ahead."
            )
        return
    if not typer.confirm(question, err=True):
        raise RefusedError("not confirmed: nothing was started")
