"""`mlbroker run`: find the machine, confirm, reserve, launch, watch, settle."""

import os
import sys
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mlbroker.broker.cli.no_effect import no_effect
from mlbroker.broker.cli.run_choice import Sources, chosen, placed
from mlbroker.broker.cli.run_offer import Offer
from mlbroker.broker.clouds import opener
from mlbroker.broker.errors import InputError, RefusedError
from mlbroker.broker.files.job_file import load_job
from mlbroker.broker.files.job_flags import override
from mlbroker.broker.files.nodes import ENVIRONMENT
from mlbroker.broker.files.policy_file import find_policy
from mlbroker.broker.files.values import parse_duration_s, parse_money_usd
from mlbroker.broker.home import home
from mlbroker.broker.ledger import Ledger, Run, open_ledger
from mlbroker.broker.output import print_json, say, warn
from mlbroker.broker.runs import launch
from mlbroker.broker.runs.clock import WallClock
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.launch import bring_checkpoint, left_of
from mlbroker.broker.runs.launch_options import deadline_at, own_machine
from mlbroker.broker.runs.order import LOCAL, LaunchOption, Order
from mlbroker.broker.runs.spend_guard import SpendGuard, allowed
from mlbroker.broker.words import count, size
from mlbroker.policies.candidates import Filters
from mlbroker.policies.guardrails import Who
from mlbroker.pricing.offer import Market
from mlbroker.profiles.job import Job

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


def command(
    job: Annotated[Path, typer.Argument(help="Job file.")],
    on: Annotated[
        str | None, typer.Option(help="Run here (local) or on a node of yours, without a plan.")
    ] = None,
    local_price: Annotated[
        str | None, typer.Option(metavar="USD_PER_HOUR", help="What an hour of this machine costs.")
    ] = None,
    nodes: Annotated[Path | None, typer.Option(help="The file that names your machines.")] = None,
    budget: Annotated[str | None, typer.Option(help="Hard cap of the run, in USD.")] = None,
    deadline: Annotated[str | None, typer.Option(help="6h, 90m, or a time with zone.")] = None,
    steps: Annotated[int | None, typer.Option(help="The whole work, in steps.")] = None,
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
    project: Annotated[str | None, typer.Option(help="What it is spent on, in the ledger.")] = None,
    policy: Annotated[
        Path | None, typer.Option(help="Policy file; else mlbroker-policy.yaml found upward.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="Why a GPU, where the policy asks for it; recorded.")
    ] = None,
    on_overrun: Annotated[
        OnOverrun | None, typer.Option(help="When the forecast breaks cap or deadline.")
    ] = None,
    on_idle: Annotated[OnIdle, typer.Option(help="When the job does nothing any more.")] = (
        OnIdle.SHOW
    ),
    idle_after: Annotated[
        str | None, typer.Option(help="How long nothing is idle, for --on-idle stop (15m).")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before spending.")] = False,
    resume: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Go on from this run's checkpoint, with what it left."),
    ] = None,
    auto_profile: Annotated[
        bool,
        typer.Option("--auto-profile", help="First measure where that saves more than it costs."),
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return at once; the run goes on, capped.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would happen; reserve nothing.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Run the job on the chosen machine under a hard budget cap.

    The cap holds even when this program, or this computer, dies: the machine is told its kill
    time before the job starts. Set-up counts.

    Exit codes: 0 done, 2 bad input, 3 refused by a budget or ended by it, 4 nothing feasible,
    100 the job failed (its own code is in the JSON), 130 interrupted.
    """
    from mlbroker.broker.cli.run_carry import carry, detached

    if on is not None:
        no_effect(
            "with --on", cloud=cloud, region=region, market=market, instance_type=instance_type,
            measure=measure, prices=prices, auto_profile=auto_profile,
        )  # fmt: skip
    stop_when_idle_s = _idle_limit(on_idle, idle_after)
    state, now = home(), WallClock().now()
    opened = opener(state)
    if nodes is not None:
        # Processes that carry the run on later read the same file.
        os.environ[ENVIRONMENT] = str(nodes.absolute())
    loaded = override(load_job(job).job, budget=budget, deadline=deadline, steps=steps)
    if loaded.ignored:
        say(f"Ignored, as mlbroker has no use for it: {', '.join(loaded.ignored)}")
    if on is not None:
        if loaded.num_nodes > 1:
            raise InputError(
                f"the job asks for {loaded.num_nodes} nodes, and {on} is one", where="num_nodes"
            )
        price = None if local_price is None else _price(local_price)
        candidates: tuple[LaunchOption, ...] = (own_machine(on, price, nodes, state),)
    else:
        if local_price is not None:
            raise InputError("goes with --on local", where="--local-price")
        wanted = Filters.of(cloud, region, market, instance_type)
        if auto_profile and not dry_run:
            _measure_first(loaded, job, wanted, nodes, yes)
        sources = Sources(measure, prices, nodes, policy, reason)
        candidates = chosen(loaded, job, now, wanted, sources, opened, dry_run=dry_run)
    earlier = None if resume is None else _earlier(open_ledger(state), resume, loaded)
    cap = _cap(loaded) if earlier is None or budget is not None else left_of(earlier)
    rules = find_policy(job, policy)
    who = Who(launch.current_user(), launch.current_project(job, project))
    candidates = placed(allowed(rules, candidates, who, reason), now, opened, dry_run=dry_run)
    offer = Offer(loaded, candidates, cap)
    offer.show()
    if dry_run:
        say("Dry run: nothing was reserved, nothing was launched.")
        if json:
            print_json(offer.document())
        return
    secrets = launch.secret_values(loaded)
    if not yes:
        _confirm()
    order = Order(
        run_id=launch.new_run_id(now),
        job=loaded.name,
        candidates=candidates,
        spec=_spec(loaded, job, stop_when_idle_s),
        secrets=loaded.secrets,
        disk_gb=max(option.disk_gb for option in loaded.resources),
        image_id=loaded.resources[0].image_id,
        steps=loaded.work.steps if loaded.work else None,
        deadline_at=deadline_at(loaded, now),
        on_overrun=on_overrun,
    )
    folder = RunFolder.of(state, order.run_id)
    facts = {"fingerprint": loaded.fingerprint(), "reason": reason}
    with folder.carried():
        if loaded.workdir and any(candidate.cloud != LOCAL for candidate in candidates):
            facts |= _pack(loaded.workdir, folder, secrets)
        if earlier is not None:
            facts |= {"resumes": earlier.run_id}
            bring_checkpoint(RunFolder.of(state, earlier.run_id), folder)
        at = WallClock().now()
        run = launch.reserve(
            open_ledger(state),
            folder,
            order,
            at,
            cap_usd=cap,
            worst_usd=offer.worst_usd,
            user=who.user,
            project=who.project,
            facts=facts,
            admission=(SpendGuard(rules, loaded.name, who, at, offer.worst_usd) if rules else None),
        )
        if detach:
            detached(state, run, secrets, json=json)
        else:
            carry(state, order.run_id, secrets, json=json)


def _measure_first(
    job: Job, job_path: Path, wanted: Filters, nodes: Path | None, yes: bool
) -> None:
    """Within the cap of `profile: max_cost`, which is beside the run's own."""
    from mlbroker.broker.cli.profile_auto import auto
    from mlbroker.profiles.stepping.stopping import StopRule

    auto(job, job_path, StopRule(), wanted, nodes, yes)


def _price(text: str) -> Decimal:
    try:
        return parse_money_usd(text)
    except InputError as error:
        raise InputError(error.what, where="--local-price", hint=error.hint) from None


def _cap(job: Job) -> Decimal:
    if job.budget_usd is None:
        raise RefusedError(
            "the run has no budget, and without a cap nothing is launched",
            hint="Give --budget USD, or write `budget: 25 USD` in the broker block.",
        )
    return job.budget_usd


def _earlier(ledger: Ledger, wanted: str, job: Job) -> Run:
    earlier = ledger.find(wanted)
    if earlier.job != job.name:
        raise InputError(f"run {earlier.run_id} was of job {earlier.job}, not {job.name}")
    return earlier


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise InputError(
            "spending needs a yes, and there is nobody to ask", hint="Add --yes to go ahead."
        )
    if not typer.confirm("Go ahead?", err=True):
        raise RefusedError("not confirmed: nothing was reserved, nothing was launched")


def _idle_limit(on_idle: OnIdle, idle_after: str | None) -> float | None:
    if on_idle is not OnIdle.STOP:
        no_effect("without --on-idle stop", idle_after=idle_after)
        return None
    try:
        return parse_duration_s(idle_after or IDLE_AFTER)
    except InputError as error:
        raise InputError(error.what, where="--idle-after", hint=error.hint) from None


def _spec(job: Job, job_path: Path, stop_when_idle_s: float | None) -> dict[str, object]:
    # Here the job runs in its own folder, as it does without mlbroker: data and virtual
    # environments that no bundle would carry are at their places.
    here = str(Path(job.workdir) if job.workdir else job_path.absolute().parent)
    checkpoint = job.checkpoint
    return {
        "setup": job.setup,
        "command": job.command,
        "envs": dict(job.envs),
        "workdir": here,
        "progress": job.progress,
        "checkpoint": (
            {"path": checkpoint.path, "every_s": checkpoint.every_s} if checkpoint else None
        ),
        "stop_when_idle_s": stop_when_idle_s,
    }


def _pack(workdir: str, folder: RunFolder, secrets: dict[str, str]) -> dict[str, str | None]:
    from mlbroker.broker.runs.bundle import pack_workdir

    bundle = pack_workdir(Path(workdir), folder.bundle, secrets)
    say(f"Bundle: {count(bundle.files, 'file')}, {size(bundle.bytes)}, sha256 {bundle.sha256[:12]}")
    for name in bundle.left_out:
        warn(f"{name} stays behind: it is no plain file, or leads out of the work directory")
    return {"bundle_sha256": bundle.sha256, "bundle_bytes": str(bundle.bytes)}
