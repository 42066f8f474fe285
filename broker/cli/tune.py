"""`mlbroker tune`: studies of many trials under one cap."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mlbroker.broker.app.run import PreparedRun, RunRequest
from mlbroker.broker.app.sources import Sources, job_of
from mlbroker.broker.app.tune import (
    PreparedStudy,
    StudyRequest,
    prepare_study,
    shown,
    studies,
)
from mlbroker.broker.app.tune_budget import refuse_none_whole
from mlbroker.broker.cli import options
from mlbroker.broker.cli.run import Detach, DryRun, Policy, Reason
from mlbroker.broker.cli.terminal import Terminal, confirm
from mlbroker.broker.cli.tune_backtest import backtest
from mlbroker.broker.cli.tune_results import NAMED, Name, best, export, stop, write_page
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.values import parse_option, parse_price_usd
from mlbroker.broker.home import home
from mlbroker.broker.output import print_json, print_line, print_table, say, warn
from mlbroker.broker.runs.launch import secret_values
from mlbroker.broker.tuning.record import StudyFolder
from mlbroker.broker.words import count, duration, exact_usd, figure, span
from mlbroker.policies.candidates import Filters
from mlbroker.pricing.offer import Market
from mlbroker.pricing.vendors import LOCAL


class _StudyByDefault(TyperGroup):
    """`tune JOB` is `tune study JOB`."""

    # typer carries its own copy of click, whose types are private.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["study", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_StudyByDefault, no_args_is_help=True)
app.command("backtest")(backtest)
app.command("best")(best)
app.command("export")(export)
app.command("stop")(stop)

On = Annotated[str, typer.Option(help="Where: local, this machine.")]


@app.command("study")
def study(
    job: options.JobFile,
    on: On = LOCAL,
    name: Annotated[str | None, typer.Option(help="Of the study; default: the job's.")] = None,
    budget: options.Cap = None,
    deadline: options.Deadline = None,
    env: options.Env = None,
    local_price: options.LocalPrice = None,
    cloud: options.Cloud = None,
    region: options.Region = None,
    market: options.MarketOption = None,
    instance_type: options.InstanceType = None,
    searcher: Annotated[str, typer.Option(help="auto, random, grid or tpe.")] = "auto",
    patience: Annotated[
        int | None,
        typer.Option(min=1, help="End after so many whole trials' work without a better one."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws the points.")] = 0,
    project: options.Project = None,
    policy: Policy = None,
    reason: Reason = None,
    yes: options.Yes = False,
    detach: Detach = False,
    dry_run: DryRun = False,
) -> None:
    """Begin a study under one cap; `tune JOB` is short for it.

    A study is many trials of the job with other values of the variables in `tune: space:`.

    One ordinary run does trial after trial. What each came to is on the disk before the next
    begins: `tune resume` goes on from there, whatever ended the run.

    Exit codes: 0 done, 2 bad input, 3 refused by a budget or ended by it, 4 the money pays for no
    whole trial, 100 the first trials failed, 130 interrupted.
    """
    flags = {"env": env, "budget": budget, "deadline": deadline}
    place = Filters.of(cloud, region, market, instance_type)
    request = _request(job, on, flags, local_price, policy, reason, project, dry_run=dry_run)
    if any(place):
        request = replace(request, on=None, filters=place)
    named = parse_option("--name", name, NAMED) or request.job.name
    _go(StudyRequest(request, named, searcher, seed, patience), yes, detach)


@app.command("resume")
def resume(
    name: Name,
    budget: options.Cap = None,
    deadline: options.Deadline = None,
    env: options.Env = None,
    local_price: options.LocalPrice = None,
    project: options.Project = None,
    policy: Policy = None,
    reason: Reason = None,
    yes: options.Yes = False,
    detach: Detach = False,
    dry_run: DryRun = False,
) -> None:
    """Carry a study on with what is left of its cap.

    --budget gives it another one. Where its client died and lanes are still at work, they are seen
    to their ends first.
    """
    folder = StudyFolder.of(home(), parse_option("NAME", name, NAMED) or name)
    terms = folder.terms()
    if not dry_run:
        from mlbroker.broker.cli.tune_carry import take_up

        take_up(folder, home())
        if (why := folder.load().ended) is not None and budget is None:
            say(f"Study {name} has ended: {why}. --budget would carry it on.")
            _say_best(shown(home(), name))
            return
    path, flags = Path(terms["job_path"]), {"env": env, "budget": budget, "deadline": deadline}
    request = _request(path, LOCAL, flags, local_price, policy, reason, project, dry_run=dry_run)
    if (place := terms.get("place")) is not None:
        named = {key: tuple(values) for key, values in place.items()}
        markets = tuple(map(Market, named.pop("markets")))
        request = replace(request, on=None, filters=Filters(**named, markets=markets))
    own = budget is not None
    _go(StudyRequest(request, name, resumes=True, new_cap=own), yes, detach)


def _request(
    path: Path,
    on: str,
    flags: dict[str, Any],
    local_price: str | None,
    policy: Path | None,
    reason: str | None,
    project: str | None,
    *,
    dry_run: bool,
) -> RunRequest:
    """The run of a lane: one machine, under a cap of its own."""
    return RunRequest(
        job=job_of(path, Terminal(), to_run=True, placed=True, **flags),
        job_path=path,
        on=on,
        local_price_usd=parse_option("--local-price", local_price, parse_price_usd),
        sources=Sources(None, None, None, policy, reason),
        project=project,
        new_cap=True,
        dry_run=dry_run,
    )


def _go(request: StudyRequest, yes: bool, detach: bool) -> None:
    if detach and request.run.on is None:
        what = "a study on rented machines is driven by its client, from wave to wave"
        raise InputError(what, where="--detach", hint="`mlbroker tune resume` goes on later.")
    prepared = prepare_study(request, home(), Terminal())
    _ask(prepared, request)
    if request.run.dry_run:
        say("Dry run: nothing was reserved, nothing was launched.")
        return
    secrets = secret_values(request.run.job)
    if not yes:
        confirm("Go ahead?", "nothing was reserved, nothing was launched")
    from mlbroker.broker.cli.tune_carry import begin
    from mlbroker.broker.cli.tune_waves import begin_waves

    here = request.run.on is not None
    try:
        if here:
            begin(prepared, secrets, home(), detach=detach)
        else:
            begin_waves(prepared, secrets, home())
    finally:
        if not detach and prepared.folder.exists:
            _say_best(shown(home(), request.name))
    if here and not detach:
        refuse_none_whole(prepared.plan, prepared.folder, home())


def _places(lanes: Sequence[PreparedRun]) -> str:
    """Each kind of machine once."""
    options = [lane.options[0] for lane in lanes]
    places = [f"{its.instance_type} ({its.cloud} {its.region}, {its.market})" for its in options]
    return ", ".join(dict.fromkeys(places))


def _ask(prepared: PreparedStudy, request: StudyRequest) -> None:
    """What is about to be done."""
    assert request.run.job.study is not None
    study, lanes = request.run.job.study, prepared.plan.lanes
    run = lanes[0]
    trials = "as many trials as that pays for" if study.trials is None else (
        f"at most {count(study.trials, 'trial')}"
    )  # fmt: skip
    say(
        f"Study {request.name}: {study.metric} over {', '.join(study.space)}, {trials} of up to "
        f"{study.most} x {study.resource}, by {prepared.terms['searcher']}."
    )
    reserved_usd = sum((each.worst.usd for each in lanes), Decimal(0))
    if request.run.on is None:
        say(f"On {_places(lanes)}, in waves: each starts its machines anew.")
        if len(prepared.plan.kinds) > 1:
            say("The first wave compares these, as nobody measured the job.")
    say(
        f"Cap {exact_usd(prepared.plan.budget_usd)} USD for all: "
        f"{'the run is' if len(lanes) == 1 else f'each of {len(lanes)} lanes is'} ended "
        f"{duration(float(run.worst.lifetime_s))} after its start at the latest; "
        f"{exact_usd(reserved_usd)} USD are reserved."
    )
    if prepared.whole_s is not None:
        say(f"A whole trial takes about {duration(prepared.whole_s)}.")
    elif not prepared.resumes:
        say("What a whole trial takes is not known: the first trials will show it.")
    if prepared.terms["checkpoint"] is None:
        say("The job has no `checkpoint:`; a trial that was paused begins anew.")


@app.command("show")
def show(
    name: Annotated[str | None, typer.Argument(help="The study; none: list them.")] = None,
    json: options.Json = False,
    html: options.Html = None,
) -> None:
    """Show a study, or list all: the best so far, and at what cost."""
    named = parse_option("NAME", name, NAMED)
    if html is not None:
        if named is None:
            raise InputError("a page is of one study", where="--html", hint="name the study")
        write_page(named, html)
    wanted = studies(home()) if named is None else [named]
    documents = [shown(home(), each) for each in wanted]
    if name is None:
        if json:
            print_json({"schema": "mlbroker.tunes/1", "studies": documents})
        elif not documents:
            say("There is no study yet: mlbroker tune JOB")
        else:
            right = ("trials", "best", "USD")
            print_table(
                ["study", "metric", *right, "is"], [_row(d) for d in documents], right=right
            )
        return
    (told,) = documents
    if json:
        print_json(told)
        return
    _say_best(told)
    steps = [[step, str(number)] for step, number in told["reached"].items()]
    print_table([told["resource"], "trials there"], steps, right=[told["resource"], "trials there"])
    print_line(
        f"{count(told['trials'], 'trial')}, {told['failed']} failed; {span(told['spent_s'])} of "
        f"work, {told['spent_usd']} USD."
    )
    print_line(f"The study is {_state(told)}.")
    for at in told["curve"]:
        print_line(f"  after {span(at['spent_s'])}: {figure(at['metric'])}")
    _print_lanes(told)


def _print_lanes(told: dict[str, Any]) -> None:
    """What each run of the study is at, and what is still to come."""
    rows = [
        [
            lane["run"],
            lane["state"],
            "" if lane["trial"] is None else f"{lane['trial']} to {lane['until']}",
            lane["spent_usd"],
            lane["cap_usd"],
        ]
        for lane in told["lanes"]
    ]
    right = ("spent USD", "cap USD")
    print_table(["lane", "is", "trial", *right], rows, right=right, spare=(4,))
    left = told["forecast"]
    if left is not None:
        when = "" if left["done_in_s"] is None else f", done in {span(left['done_in_s'])}"
        print_line(
            f"About {span(left['work_s'])} of work is left, for {left['usd']} USD{when}: a guess "
            "by the mean trial."
        )


def _say_best(told: dict[str, Any]) -> None:
    found = told["best"]
    if found is None:
        say(f"Study {told['study']}: no trial has told {told['metric']} yet.")
    else:
        say(
            f"Study {told['study']}: best {told['metric']} {figure(found['metric'])}, trial "
            f"{found['trial']} at {told['resource']} {found['at']}: "
            + ", ".join(f"{key}={value}" for key, value in found["env"].items())
        )
    if told["doubt"]:
        warn(told["doubt"])


def _row(told: dict[str, Any]) -> list[str]:
    found = told["best"]
    best = "" if found is None else figure(found["metric"])
    state = _state(told).partition(":")[0]
    return [told["study"], told["metric"], str(told["trials"]), best, told["spent_usd"], state]


def _state(told: dict[str, Any]) -> str:
    if told["running"]:
        return "at work"
    return f"done: {told['ended']}" if told["ended"] else "interrupted"
