"""`mlbroker run`: find the machine, confirm, reserve, launch, watch, settle."""

import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from mlbroker.broker.app.promise import enough_usd
from mlbroker.broker.app.run import PreparedRun, RunRequest, prepare, reserve
from mlbroker.broker.app.sources import Sources, job_of
from mlbroker.broker.cli import completion, options
from mlbroker.broker.cli.options import no_effect
from mlbroker.broker.cli.question import say_expected
from mlbroker.broker.cli.terminal import Terminal, confirm
from mlbroker.broker.files.env_flags import parse_env
from mlbroker.broker.files.job_file import PipelineFile
from mlbroker.broker.files.pipeline_file import load_pipeline
from mlbroker.broker.files.values import parse_duration_s, parse_option, parse_price_usd
from mlbroker.broker.home import home
from mlbroker.broker.output import print_json, say
from mlbroker.broker.plan_words import MEASURE_OR_SAY, ended_by_its_cap_words
from mlbroker.broker.runs.launch import secret_values
from mlbroker.broker.runs.outputs import where_from
from mlbroker.broker.runs.zones import NothingSetUp
from mlbroker.broker.words import duration, exact_usd
from mlbroker.policies.candidates import Filters
from mlbroker.pricing.vendors import LOCAL
from mlbroker.profiles.batch import Adapt
from mlbroker.profiles.job import SpotPolicy

# A job that does nothing for so long is idle.
IDLE_AFTER = "15m"


class OnOverrun(StrEnum):
    """What to do when the forecast breaks the cap or the deadline."""

    STOP = "stop"
    MOVE = "move"
    ASK = "ask"


class OnIdle(StrEnum):
    """What to do when the job does nothing any more."""

    SHOW = "show"
    STOP = "stop"


Policy = Annotated[
    Path | None, typer.Option(help="Policy file; else mlbroker-policy.yaml found upward.")
]
Reason = Annotated[
    str | None, typer.Option(help="Why a GPU, where the policy asks for it; recorded.")
]
Overrun = Annotated[
    OnOverrun | None, typer.Option(help="When the forecast breaks cap or deadline.")
]
Idle = Annotated[OnIdle, typer.Option(help="When the job does nothing any more.")]
IdleAfter = Annotated[
    str | None, typer.Option(help="How long nothing is idle, for --on-idle stop (15m).")
]
AdaptOption = Annotated[
    Adapt | None,
    typer.Option("--adapt", help="At a checkpoint: another batch, or machine (docs/adaptive.md)."),
]
Resume = Annotated[
    str | None,
    typer.Option(
        metavar="RUN",
        help="Go on from this run's checkpoint, or with this pipeline (last), with what it left.",
        autocompletion=completion.runs,
    ),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="STAGE", help="Run this stage of a pipeline, and what needs it."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Run stages that are unchanged, too.")]
AutoProfile = Annotated[
    bool, typer.Option("--auto-profile", help="First measure where that saves more than it costs.")
]
Detach = Annotated[
    bool, typer.Option("--detach", "-d", help="Return at once; the run goes on, capped.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would happen; reserve nothing.")]


def command(
    job: options.JobFile,
    on: options.On = None,
    local_price: options.LocalPrice = None,
    nodes: options.Nodes = None,
    budget: options.Cap = None,
    deadline: options.Deadline = None,
    env: options.Env = None,
    steps: options.Steps = None,
    takes: options.Takes = None,
    cloud: options.Cloud = None,
    region: options.Region = None,
    market: options.MarketOption = None,
    spot_policy: options.SpotPolicy = None,
    instance_type: options.InstanceType = None,
    measure: options.Measure = None,
    prices: options.Prices = None,
    project: options.Project = None,
    policy: Policy = None,
    reason: Reason = None,
    on_overrun: Overrun = None,
    on_idle: Idle = OnIdle.SHOW,
    idle_after: IdleAfter = None,
    adapt: AdaptOption = None,
    yes: options.Yes = False,
    resume: Resume = None,
    from_: From = None,
    force: Force = False,
    auto_profile: AutoProfile = False,
    detach: Detach = False,
    dry_run: DryRun = False,
    json: options.Json = False,
) -> None:
    """Run the job on the chosen machine under a hard budget cap.

    The cap holds even when this program, or this computer, dies: the machine is told its kill
    time before the job starts. Set-up counts.

    Exit codes: 0 done, 2 bad input, 3 refused by a budget or ended by it, 4 nothing feasible,
    100 the job failed (its own code is in the JSON), 130 interrupted.
    """
    if on is not None:
        no_effect(
            "with --on", cloud=cloud, region=region, market=market, instance_type=instance_type,
            measure=measure, prices=prices, auto_profile=auto_profile, spot_policy=spot_policy,
        )  # fmt: skip
    flags: dict[str, Any] = {"env": env, "budget": budget, "deadline": deadline}
    flags |= {"steps": steps, "takes": takes, "spot_policy": spot_policy, "adapt": adapt}
    shared: dict[str, Any] = {
        "on": on,
        "local_price_usd": parse_option("--local-price", local_price, parse_price_usd),
        "filters": Filters.of(cloud, region, market, instance_type),
        "sources": Sources(measure, prices, nodes, policy, reason),
        "project": project,
        "on_overrun": on_overrun,
        "stop_when_idle_s": _idle_limit(on_idle, idle_after),
        "dry_run": dry_run,
    }
    if (pipeline := load_pipeline(job, parse_env(env), needs_folder=True)) is not None:
        no_effect("on a pipeline, which its client leads", auto_profile=auto_profile, detach=detach)
        whole = {**shared, "resume": resume, "again": from_, "force": force}
        _run_pipeline(pipeline, job, flags, whole, yes, json=json)
        return
    no_effect("on a single job", **{"from": from_}, force=force)
    request = RunRequest(
        job=job_of(job, Terminal(), to_run=True, placed=on is not None, **flags),
        job_path=job,
        resumes=resume,
        new_cap=budget is not None,
        **shared,
    )
    if auto_profile and not dry_run:
        _measure_first(request, yes)
    prepared = _prepared(request, ask=not (yes or dry_run))
    _show(prepared)
    if dry_run:
        _end_dry(prepared, json=json)
    else:
        _go(prepared, yes=yes, detach=detach, json=json)


def _end_dry(prepared: PreparedRun, *, json: bool) -> None:
    say("Dry run: nothing was reserved, nothing was launched.")
    if json:
        print_json(prepared.document())


def _go(prepared: PreparedRun, *, yes: bool, detach: bool, json: bool) -> None:
    secrets = secret_values(prepared.request.job)
    if not yes:
        confirm("Go ahead?", "nothing was reserved, nothing was launched")
    from mlbroker.broker.cli.ctrl_c import CtrlC
    from mlbroker.broker.cli.run_carry import carry, detached

    with CtrlC() as ctrl_c, reserve(prepared, secrets, home(), Terminal()) as run:
        if detach:
            detached(home(), run, secrets, json=json)
        else:
            carry(home(), run.run_id, secrets, ctrl_c, json=json)


def _run_pipeline(
    file: PipelineFile,
    path: Path,
    flags: dict[str, Any],
    shared: dict[str, Any],
    yes: bool,
    *,
    json: bool,
) -> None:
    from mlbroker.broker.app.pipeline_rest import PipelineRequest
    from mlbroker.broker.app.pipeline_stages import limits_of
    from mlbroker.broker.cli.pipeline_run import run_pipeline

    own = {name: flags[name] for name in ("steps", "takes", "spot_policy", "adapt")}
    no_effect("on a pipeline: write it into the stage", **own)
    limits = {name: flags[name] for name in ("budget", "deadline")}
    request = PipelineRequest(
        file,
        path,
        limits_of(file, **limits),
        new_cap=flags["budget"] is not None,
        new_deadline=flags["deadline"] is not None,
        **shared,
    )
    run_pipeline(request, yes=yes, json=json)


def _prepared(request: RunRequest, ask: bool) -> PreparedRun:
    """Where nothing is set up to launch on, whoever can be asked is offered this machine."""
    terminal = Terminal()
    try:
        return prepare(request, home(), terminal)
    except NothingSetUp as error:
        if not (ask and sys.stdin.isatty()):
            raise
        say(str(error))
        confirm("Run it on this machine instead?", "nothing was reserved, nothing was launched")
        here = replace(request, on=LOCAL, filters=Filters())
        return prepare(here, home(), terminal)


def _measure_first(request: RunRequest, yes: bool) -> None:
    """Within the cap of `profile: max_cost`, which is beside the run's own."""
    from mlbroker.broker.app.profile import ProfileRequest
    from mlbroker.broker.cli.profile import measured
    from mlbroker.profiles.stepping.stopping import StopRule

    where, nodes = request.filters, request.sources.nodes
    rule = StopRule()
    measured(
        ProfileRequest(request.job, request.job_path, rule, None, nodes, where, auto=True), yes
    )


def _show(prepared: PreparedRun) -> None:
    """What is about to be done, for the question and the dry run."""
    first = prepared.options[0]
    say_expected(prepared.request.job.name, first, prepared.expected)
    if prepared.expected.cost_usd is None:
        say(f"To know, {MEASURE_OR_SAY}.")
    say(
        f"Cap {exact_usd(prepared.cap_usd)} USD: the machine is ended "
        f"{duration(float(prepared.worst.lifetime_s))} after its start at the latest; "
        f"{exact_usd(prepared.worst.usd)} USD are reserved."
    )
    late_s = prepared.request.guest_late_s
    enough = enough_usd(
        prepared.expected.duration_h, first, prepared.worst.lifetime_s, late_s, home()
    )
    # A spot policy waits and moves: its machines come and go.
    if enough is not None and prepared.spot is None:
        say(f"Warning: {ended_by_its_cap_words(enough)}")
    if prepared.spot is not None:
        say(
            "On spot as long as the deadline lets it: it moves to another zone, waits for spot to "
            f"come back, or goes on on demand, and back (policy: {prepared.spot.policy})."
        )
    elif (policy := prepared.request.job.spot_policy) is not SpotPolicy.AUTO:
        say(
            f"The spot policy {policy} has no say: the choice is no spot machine that falls back "
            "on demand, which takes a deadline, a checkpoint, and both markets."
        )
    say(where_from(prepared.request.job, first.cloud))


def _idle_limit(on_idle: OnIdle, idle_after: str | None) -> float | None:
    if on_idle is not OnIdle.STOP:
        no_effect("without --on-idle stop", idle_after=idle_after)
        return None
    return parse_option("--idle-after", idle_after or IDLE_AFTER, parse_duration_s)
