"""`mlbroker submit`: a run that may wait for a place, and goes on without this terminal."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlbroker.broker.app.queueing import Options
from mlbroker.broker.app.run import RunRequest, prepare, reserve
from mlbroker.broker.app.sources import Sources, job_of
from mlbroker.broker.cli import options
from mlbroker.broker.cli.question import say_expected
from mlbroker.broker.cli.run_carry import detached
from mlbroker.broker.cli.terminal import Terminal, confirm
from mlbroker.broker.files.values import parse_option, parse_price_usd, parse_value_of_time
from mlbroker.broker.home import home
from mlbroker.broker.runs.launch import secret_values
from mlbroker.policies.candidates import Filters

if TYPE_CHECKING:
    pass


def command(
    job: options.JobFile,
    on: options.On = None,
    local_price: options.LocalPrice = None,
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
    value = parse_option("--value-of-time", value_of_time, parse_value_of_time)
    request = RunRequest(
        job=job_of(job, terminal, to_run=True, placed=on is not None, **flags),
        job_path=job,
        on=on,
        local_price_usd=parse_option("--local-price", local_price, parse_price_usd),
        filters=Filters(),
        sources=Sources(None, None, nodes, policy, None),
        project=project,
        new_cap=budget is not None,
        queue=Options(value, team, yields),
    )
    prepared = prepare(request, home(), terminal)
    say_expected(request.job.name, prepared.options[0], prepared.expected)
    secrets = secret_values(request.job)
    if not yes:
        confirm("Hand it in?", "nothing was reserved, nothing was launched")
    with reserve(prepared, secrets, home(), terminal) as run:
        detached(home(), run, secrets, json=json)
