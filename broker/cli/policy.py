"""`mlbroker policy`: which rule of the policy file hits a job."""

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from mlbroker.broker.errors import InputError, RefusedError
from mlbroker.broker.files.job_file import load_job
from mlbroker.broker.files.job_flags import override
from mlbroker.broker.files.policy_file import NAME, find_policy
from mlbroker.broker.files.values import parse_money_usd, parse_option
from mlbroker.broker.home import home
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.output import print_json, print_table, say
from mlbroker.broker.runs.launch import current_project, current_user
from mlbroker.broker.runs.launch_options import own_machine, planned
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.broker.runs.spend_guard import committed, machine_of
from mlbroker.policies.guardrails import (
    Hit,
    Policy,
    Who,
    gpu_hits,
    machine_hit,
    spend_hit,
)
from mlbroker.profiles.job import Job

app = typer.Typer(no_args_is_help=True)


@app.callback()
def group() -> None:
    """Look at the policy file's effect."""


@app.command("test")
def try_out(
    job: Annotated[Path, typer.Argument(help="Job file.")],
    policy: Annotated[Path | None, typer.Option(help=f"Policy file; else {NAME} upward.")] = None,
    budget: Annotated[str | None, typer.Option(help="Cap of the run, in USD.")] = None,
    on: Annotated[str | None, typer.Option(help="This machine, or a node of yours.")] = None,
    local_price: Annotated[str | None, typer.Option(help="USD per hour of this machine.")] = None,
    user: Annotated[str | None, typer.Option(help="As this user.")] = None,
    project: Annotated[str | None, typer.Option(help="For this project.")] = None,
    reason: Annotated[str | None, typer.Option(help="With this reason for a GPU.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Show which rule hits a job, machine by machine.

    The caps are judged as the ledger stands now.

    Exit codes: 0 some machine is allowed and the caps have room, 3 the policy forbids the run.
    """
    rules = find_policy(job, policy)
    if rules is None:
        raise InputError(f"there is no {NAME} upward from {job}", hint="Or give --policy FILE.")
    loaded = override(load_job(job).job, budget=budget)
    price = parse_option("--local-price", local_price, parse_money_usd)
    candidates = (own_machine(on, price, None, home()),) if on is not None else _all_planned(loaded)
    who = Who(user or current_user(), current_project(job, project))
    hits = _hits(rules, candidates, who, reason)
    spend = _spend(rules, loaded.budget_usd, who)
    left = [c for c, hit in zip(candidates, hits, strict=True) if hit is None]
    if json:
        print_json(_document(rules, candidates, hits, spend))
    else:
        _show(candidates, hits, spend)
    if not left or spend is not None:
        raise RefusedError("the policy forbids this run", where=rules.source)
    say(f"Allowed: {len(left)} of {len(candidates)} machines, first {left[0].instance_type}.")


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
    types = [kind for _, _, kind in book.types()]
    clouds = {quote.cloud for quote in plan.quotes}
    return planned(job, plan.quotes, book.regions().values(), types, clouds)


def _hits(
    policy: Policy, candidates: tuple[LaunchOption, ...], who: Who, reason: str | None
) -> list[Hit | None]:
    machines = [machine_of(candidate) for candidate in candidates]
    hits = [machine_hit(policy, machine, who) for machine in machines]
    open_ = [i for i, hit in enumerate(hits) if hit is None]
    for index, hit in gpu_hits(policy, [machines[i] for i in open_], reason).items():
        hits[open_[index]] = hit
    return hits


def _spend(policy: Policy, cap: Decimal | None, who: Who) -> Hit | None:
    if cap is None:
        return None
    held = committed(open_ledger(home()).accounts())
    return spend_hit(policy, held, datetime.now(UTC), who, cap)


def _show(candidates: tuple[LaunchOption, ...], hits: list[Hit | None], spend: Hit | None) -> None:
    rules = Counter(hit.rule for hit in hits if hit)
    examples: dict[str, tuple[LaunchOption, Hit]] = {}
    for candidate, hit in zip(candidates, hits, strict=True):
        if hit is not None:
            examples.setdefault(hit.rule, (candidate, hit))
    rows = [
        [rule, str(count), f"{examples[rule][0].instance_type}: {examples[rule][1].why}"]
        for rule, count in rules.most_common()
    ]
    if spend is not None:
        rows.append([spend.rule, "the run", spend.why])
    if rows:
        print_table(("rule", "forbids", "for example"), rows)
    else:
        say("No rule hits this job.")


def _document(
    policy: Policy, candidates: tuple[LaunchOption, ...], hits: list[Hit | None], spend: Hit | None
) -> dict[str, Any]:
    return {
        "schema": "mlbroker.policy-test/1",
        "policy": policy.source,
        "allowed": [
            c.instance_type for c, hit in zip(candidates, hits, strict=True) if hit is None
        ],
        "forbidden": [
            {
                "cloud": c.cloud,
                "region": c.region,
                "instance_type": c.instance_type,
                "market": c.market,
                "rule": hit.rule,
                "why": hit.why,
            }
            for c, hit in zip(candidates, hits, strict=True)
            if hit is not None
        ],
        "caps": None if spend is None else {"rule": spend.rule, "why": spend.why},
    }
