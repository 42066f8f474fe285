"""`mlbroker advise`: what wastes a job's time and money, with figures."""

from pathlib import Path
from typing import Annotated

import typer

from mlbroker.broker.app.sources import Sources, job_of
from mlbroker.broker.cli import options
from mlbroker.broker.cli.terminal import Terminal
from mlbroker.broker.home import home
from mlbroker.broker.output import print_json, print_line
from mlbroker.policies.candidates import Filters


def command(
    job: options.JobFile,
    env: options.Env = None,
    deadline: options.Deadline = None,
    steps: options.Steps = None,
    takes: options.Takes = None,
    cloud: options.Cloud = None,
    region: options.Region = None,
    market: options.MarketOption = None,
    measure: options.Measure = None,
    prices: options.Prices = None,
    policy: options.Policy = None,
    nodes: Annotated[
        Path | None, typer.Option(help="Your own machines (else MLBROKER_NODES or nodes.yaml).")
    ] = None,
    json: options.Json = False,
) -> None:
    """Say what wastes the job's time and money, a GPU included.

    It rests on what `mlbroker profile` saw and on the plan; nothing is started.

    Exit codes: 0 said, 2 bad input.
    """
    from mlbroker.broker.advice_words import advice_lines
    from mlbroker.broker.advise_document import advise_document
    from mlbroker.broker.app.advise import advise
    from mlbroker.broker.app.plan import PlanQuery

    terminal = Terminal()
    wanted = job_of(job, terminal, env=env, deadline=deadline, steps=steps, takes=takes)
    sources = Sources(measure, prices, nodes, policy)
    query = PlanQuery(wanted, job, Filters.of(cloud, region, market, None), sources, top=1)
    advised = advise(query, home(), terminal)
    if json:
        print_json(advise_document(advised))
        return
    for line in advice_lines(advised):
        print_line(line)
