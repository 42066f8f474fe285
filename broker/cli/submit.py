"""`mlbroker submit`: a run that may wait for a place, and goes on without this terminal."""

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlbroker.broker.app.run import RunRequest, prepare, reserve
from mlbroker.broker.app.sources import Sources, job_of
from mlbroker.broker.cli import options
from mlbroker.broker.cli.question import say_expected
from mlbroker.broker.cli.run import LocalPrice, On
from mlbroker.broker.cli.run_carry import detached
from mlbroker.broker.cli.terminal import Terminal, confirm
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.values import parse_option, parse_price_usd
from mlbroker.broker.home import home
from mlbroker.broker.judge import policy_of
from mlbroker.broker.queue.terms import USUAL_USD_PER_H, Asked
from mlbroker.broker.runs.launch import current_project, current_user, secret_values
from mlbroker.broker.words import exact_usd
from mlbroker.policies.candidates import Filters

if TYPE_CHECKING:
    from mlbroker.policies.guardrails.judge import Policy


def command(
    job: options.JobFile,
    on: On = None,
    local_price: LocalPrice = None,
    nodes: options.Nodes = None,
    budget: options.Cap = None,
    deadline: options.Deadline = None,
    takes: options.Takes = None,
    env: options.Env = None,
    value_of_time: Annotated[
        str | None,
        typer.Option(metavar="USD_PER_HOUR", help="What an hour of waiting costs: '2 USD/h'."),
    ] = None,
    team: Annotated[str | None, typer.Option(help="Whose run it is; else the user's team.")] = None,
    yields: Annotated[
        bool, typer.Option("--yield/--no-yield", help="May others have its place, at a checkpoint?")
    ] = True,
    project: options.Project = None,
    policy: options.Policy = None,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Hand the job in: it starts when a place is free and its turn, and the terminal is free.

    The order is by what waiting costs; see `mlbroker queue`.

    Exit codes: 0 handed in, 2 bad input, 3 refused by a budget, 4 nothing feasible.
    """
    terminal = Terminal()
    flags: dict[str, Any] = {"budget": budget, "deadline": deadline, "takes": takes, "env": env}
    value = parse_option("--value-of-time", value_of_time, _usd_per_h)
    rules = policy_of(policy, job)
    asked = Asked(USUAL_USD_PER_H if value is None else value, _team(rules, team), yields)
    _refuse_beyond_caps(rules, asked.value_usd_per_h, current_project(job, project))
    request = RunRequest(
        job=job_of(job, terminal, to_run=True, placed=on is not None, **flags),
        job_path=job,
        on=on,
        local_price_usd=parse_option("--local-price", local_price, parse_price_usd),
        filters=Filters(),
        sources=Sources(None, None, nodes, policy, None),
        project=project,
        new_cap=budget is not None,
        queue=asked,
    )
    prepared = prepare(request, home(), terminal)
    say_expected(request.job.name, prepared.options[0], prepared.expected)
    secrets = secret_values(request.job)
    if not yes:
        confirm("Hand it in?", "nothing was reserved, nothing was launched")
    with reserve(prepared, secrets, home(), terminal) as run:
        detached(home(), run, secrets, json=json)


def _usd_per_h(text: str) -> Decimal:
    return parse_price_usd(text.strip().removesuffix("/h"))


def _refuse_beyond_caps(rules: "Policy | None", usd_per_h: Decimal, project: str | None) -> None:
    """An hour of waiting that is worth more than all that may be spent is a slip of the pen."""
    if rules is None:
        return
    from mlbroker.policies.guardrails.interface import Who
    from mlbroker.policies.guardrails.max_spend_per_period import MaxSpendPerPeriod

    for key, rule in rules.rules.items():
        caps = rule.caps if isinstance(rule, MaxSpendPerPeriod) else None
        for cap in caps.on(Who(current_user(), project)) if caps else ():
            if usd_per_h > cap.usd:
                raise InputError(
                    f"{exact_usd(usd_per_h)} USD/h is more than {key} lets pass {cap.name}: "
                    f"{exact_usd(cap.usd)} USD",
                    where="--value-of-time",
                    hint="Say what an hour of waiting costs the team.",
                )


def _team(rules: "Policy | None", named: str | None) -> str | None:
    """The team that was named, or the user's own; only the policy file knows teams."""
    teams = rules.teams if rules is not None else {}
    if named is None:
        user = current_user()
        return next((name for name, users in teams.items() if user in users), None)
    if teams and named not in teams:
        raise InputError(
            f"there is no team {named!r}",
            where="--team",
            hint=f"Known: {', '.join(sorted(teams))}.",
        )
    return named
