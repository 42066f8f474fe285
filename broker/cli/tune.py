"""`mlbroker tune`: studies of many trials under one cap."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mlbroker.broker.app.run import RunRequest, reserve
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
from mlbroker.broker.cli.run import Detach, DryRun, LocalPrice, Policy, Reason
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
    local_price: LocalPrice = None,
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
    request = _request(job, on, flags, local_price, policy, reason, project, dry_run=dry_run)
    named = parse_option("--name", name, NAMED) or request.job.name
    _go(StudyRequest(request, named, searcher, seed, patience), yes, detach)


@app.command("resume")
def resume(
    name: Name,
    budget: options.Cap = None,
    deadline: options.Deadline = None,
    env: options.Env = None,
    local_price: LocalPrice = None,
    project: options.Project = None,
    policy: Policy = None,
    reason: Reason = None,
    yes: options.Yes = False,
    detach: Detach = False,
    dry_run: DryRun = False,
) -> None:
    """Carry a study on, with another run and a cap of its own."""
    terms = StudyFolder.of(home(), parse_option("NAME", name, NAMED) or name).terms()
    path, flags = Path(terms["job_path"]), {"env": env, "budget": budget, "deadline": deadline}
    request = _request(path, LOCAL, flags, local_price, policy, reason, project, dry_run=dry_run)
    _go(StudyRequest(request, name, resumes=True), yes, detach)


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
    prepared = prepare_study(request, home(), Terminal())
    _ask(prepared, request)
    if request.run.dry_run:
        say("Dry run: nothing was reserved, nothing was launched.")
        return
    secrets = secret_values(prepared.run.request.job)
    if not yes:
        confirm("Go ahead?", "nothing was reserved, nothing was launched")
    from mlbroker.broker.cli.ctrl_c import CtrlC
    from mlbroker.broker.cli.run_carry import carry, detached

    with CtrlC() as ctrl_c:
        prepared.begin(home())
        with reserve(prepared.run, secrets, home(), Terminal()) as run:
            if detach:
                detached(home(), run, secrets, json=False)
                return
            try:
                carry(home(), run.run_id, secrets, ctrl_c, json=False)
            finally:
                _say_best(shown(home(), request.name))
            refuse_none_whole(prepared.run, prepared.folder, home())


def _ask(prepared: PreparedStudy, request: StudyRequest) -> None:
    """What is about to be done."""
    assert request.run.job.study is not None
    study, run = request.run.job.study, prepared.run
    trials = "as many trials as that pays for" if study.trials is None else (
        f"at most {count(study.trials, 'trial')}"
    )  # fmt: skip
    say(
        f"Study {request.name}: {study.metric} over {', '.join(study.space)}, {trials} of up to "
        f"{study.most} x {study.resource}, by {prepared.terms['searcher']}."
    )
    say(
        f"Cap {exact_usd(run.cap_usd)} USD for all: the run is ended "
        f"{duration(float(run.worst.lifetime_s))} after its start at the latest; "
        f"{exact_usd(run.worst.usd)} USD are reserved."
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
