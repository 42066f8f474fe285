"""`mlbroker policy`: which rule of the policy file hits a job."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from mlbroker.broker.cli import options
from mlbroker.broker.errors import InputError, RefusedError
from mlbroker.broker.files.job_file import load_job
from mlbroker.broker.files.job_flags import override
from mlbroker.broker.files.values import parse_option, parse_price_usd
from mlbroker.broker.home import POLICY_NAME, home
from mlbroker.broker.judge import judge_of
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.output import print_json, print_table, say
from mlbroker.broker.runs.admission import reservation_of, subject_of
from mlbroker.broker.runs.launch_options import own_machine, planned
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.policies.guardrails.judge import Hit, Judge
from mlbroker.profiles.job import Job

app = typer.Typer(no_args_is_help=True)
Forbidden = Sequence[tuple[LaunchOption, Hit]]


@app.callback()
def group() -> None:
    """Look at the policy file's effect."""


@app.command("test")
def try_out(
    job: options.JobFile,
    policy: options.Policy = None,
    budget: Annotated[str | None, typer.Option(help="Cap of the run, in USD.")] = None,
    on: Annotated[str | None, typer.Option(help="This machine, or a node of yours.")] = None,
    local_price: Annotated[str | None, typer.Option(help="USD per hour of this machine.")] = None,
    user: Annotated[str | None, typer.Option(help="As this user.")] = None,
    project: Annotated[str | None, typer.Option(help="For this project.")] = None,
    reason: Annotated[str | None, typer.Option(help="With this reason for a GPU.")] = None,
    json: options.Json = False,
) -> None:
    """Show which rule hits a job, machine by machine.

    The caps are judged as the ledger stands now.

    Exit codes: 0 some machine is allowed and the caps have room, 3 the policy forbids the run.
    """
    judge = judge_of(job, policy, project=project, user=user, reason=reason)
    if judge is None:
        raise InputError(
            f"there is no {POLICY_NAME} upward from {job}", hint="Or give --policy FILE."
        )
    loaded = override(load_job(job, needs_folder=False).job, budget=budget)
    price = parse_option("--local-price", local_price, parse_price_usd)
    machines = (
        (own_machine(on, price, None, home(), say),) if on is not None else _all_planned(loaded)
    )
    hits = judge.machines([subject_of(option) for option in machines])
    judged = list(zip(machines, hits, strict=True))
    left = [option for option, hit in judged if hit is None]
    forbidden = [(option, hit) for option, hit in judged if hit is not None]
    spend = _spend(judge, (left or machines)[0], loaded)
    if json:
        print_json(_document(judge.policy.source, left, forbidden, spend))
    else:
        _show(forbidden, spend)
    if not left or spend is not None:
        raise RefusedError("the policy forbids this run", where=judge.policy.source)
    if loaded.budget_usd is None:
        say("Caps and approve_above are judged by what a run reserves: give --budget.")
    say(f"Allowed: {len(left)} of {len(machines)} machines, first {left[0].instance_type}.")


def _all_planned(job: Job) -> tuple[LaunchOption, ...]:
    from mlbroker.broker.app.sources import evidence_of
    from mlbroker.broker.cli.terminal import Terminal
    from mlbroker.broker.plan_words import nothing_chosen
    from mlbroker.broker.prices.price_book import open_book
    from mlbroker.policies.planner.plan import PlanRequest
    from mlbroker.policies.planner.planner import Planner

    book = open_book(home(), None)
    request = PlanRequest(job, evidence_of(job, home(), None, Terminal()), top=0)
    plan = Planner(book, datetime.now(UTC)).plan(request)
    if plan.choice is None:
        raise nothing_chosen(plan)
    clouds = {quote.cloud for quote in plan.quotes}
    return planned(job, plan.quotes, book, clouds)


def _spend(judge: Judge, option: LaunchOption, job: Job) -> Hit | None:
    """The rule that forbids to reserve the job's whole budget now."""
    if job.budget_usd is None:
        return None
    ledger, now = open_ledger(home()), datetime.now(UTC)
    held, approvals = ledger.accounts(), ledger.unused_approvals()
    reservation = reservation_of(job.name, now, job.budget_usd, held, approvals)
    return judge.spending(subject_of(option), reservation)


def _show(forbidden: Forbidden, spend: Hit | None) -> None:
    rules = Counter(hit.rule for _, hit in forbidden)
    examples = {hit.rule: f"{option.instance_type}: {hit.why}" for option, hit in forbidden[::-1]}
    rows = [[rule, str(count), examples[rule]] for rule, count in rules.most_common()]
    if spend is not None:
        rows.append([spend.rule, "the run", spend.why])
    if rows:
        print_table(("rule", "forbids", "for example"), rows)
    else:
        say("No rule hits this job.")


def _document(
    source: str, left: Sequence[LaunchOption], forbidden: Forbidden, spend: Hit | None
) -> dict[str, Any]:
    return {
        "schema": "mlbroker.policy-test/1",
        "policy": source,
        "allowed": [option.instance_type for option in left],
        "forbidden": [
            {
                "cloud": option.cloud,
                "region": option.region,
                "instance_type": option.instance_type,
                "market": option.market,
                **asdict(hit),
            }
            for option, hit in forbidden
        ],
        "caps": None if spend is None else asdict(spend),
    }
