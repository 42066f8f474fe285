"""`mlbroker export`: the plan's machine and the job, as another tool's file."""

import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from mlbroker.broker.app.export import Exported, export
from mlbroker.broker.app.export_service import ServiceExportRequest, export_service
from mlbroker.broker.app.plan import PlanQuery, plan
from mlbroker.broker.app.sources import Sources, job_of
from mlbroker.broker.cli import options
from mlbroker.broker.cli.new_file import write_file
from mlbroker.broker.cli.terminal import Terminal
from mlbroker.broker.engines import EXPORTERS, exporter
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.other_tools import TOOLS
from mlbroker.broker.files.values import parse_money_usd, parse_option
from mlbroker.broker.files.yaml_fields import nearest_hint
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.broker.home import home
from mlbroker.broker.output import print_line, say
from mlbroker.policies.candidates import Filters

AIRFLOW = "airflow"
JOBS = sorted([AIRFLOW, *(name for name, tool in TOOLS.items() if tool.writes)])
WRITABLE = [*JOBS, *EXPORTERS]


def command(
    job: options.JobFile,
    to: Annotated[
        str, typer.Option(help=f"{', '.join(JOBS)}; of a service {', '.join(EXPORTERS)}.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write, else stdout.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    env: options.Env = None,
    deadline: options.Deadline = None,
    budget: Annotated[
        str | None, typer.Option(help="Most the run may cost, or a service a month, in USD.")
    ] = None,
    takes: options.Takes = None,
    on: options.On = None,
    local_price: options.LocalPrice = None,
    cloud: options.Cloud = None,
    region: options.Region = None,
    market: options.MarketOption = None,
    instance_type: options.InstanceType = None,
    measure: options.Measure = None,
    prices: options.Prices = None,
    policy: options.Policy = None,
    nodes: options.Nodes | None = None,
    capacity_rps: Annotated[
        float | None,
        typer.Option(help="Of a service: what a replica serves, else as measured or targeted."),
    ] = None,
    price_per_hour_usd: Annotated[
        float | None,
        typer.Option(help="Of a service: what an hour of a replica costs, else as planned."),
    ] = None,
    spent_usd: Annotated[
        float | None, typer.Option(help="Of a service: what is gone of this month's budget.")
    ] = None,
) -> None:
    """Plan as `mlbroker plan` does, and write the job on the chosen machine as a file of SkyPilot,
    dstack, Kubernetes or Slurm.

    What such a file has no word for (a budget, checkpoints, and of Slurm the cloud itself) is said.
    For Airflow a job or a pipeline becomes a DAG whose task calls `mlbroker run --budget`.
    Of a service, the settings of its engine are written, with as many replicas at most as the
    month's budget pays for all the time. Nothing is applied.

    Exit codes: 0 a machine was chosen, 2 bad input, 4 nothing feasible.
    """
    replica = {"capacity_rps": capacity_rps, "price_per_hour_usd": price_per_hour_usd}
    _refuse(to, {**replica, "spent_usd": spent_usd}, {"on": on, "local_price": local_price})
    into = Path(output or job).absolute().parent
    if to == AIRFLOW:
        from mlbroker.broker.app.export_airflow import export_airflow

        given: dict[str, Any] = {
            "--env": env, "--deadline": deadline, "--takes": takes, "--on": on,
            "--local-price": local_price, "--cloud": cloud, "--region": region,
            "--market": market, "--instance-type": instance_type, "--measure": measure,
            "--prices": prices, "--policy": policy, "--nodes": nodes,
        }  # fmt: skip
        exported = export_airflow(job, into, budget, {k: _listed(v) for k, v in given.items()})
    else:
        terminal, sources = Terminal(), Sources(measure, prices, nodes, policy)
        filters = Filters.of(cloud, region, market, instance_type)
        if to in EXPORTERS:
            options.no_effect("on a service", deadline=deadline, takes=takes)
        cap = None if to in EXPORTERS else budget
        wanted = job_of(job, terminal, env=env, deadline=deadline, budget=cap, takes=takes)
        planned = partial(plan, PlanQuery(wanted, job, filters, sources, top=1), home(), terminal)
        if to in EXPORTERS:
            month_usd = parse_option("--budget", budget, parse_money_usd)
            request = ServiceExportRequest(
                wanted, job, to, into, capacity_rps, price_per_hour_usd, month_usd, spent_usd,
                time.time_ns() // 10**6,
            )  # fmt: skip
            exported = export_service(request, planned, home(), terminal)
        else:
            exported = export(planned(), to, into)
    _write(exported, to, output, force)


def _refuse(to: str, of_service: dict[str, object], of_task: dict[str, object]) -> None:
    """What is no tool, and options that the tool has no use for."""
    if to not in WRITABLE:
        raise InputError(f"{quoted(to)} is none", where="--to", hint=nearest_hint(to, WRITABLE))
    if to not in EXPORTERS:
        options.no_effect("on what is no service", **of_service)
    if to != AIRFLOW:
        options.no_effect("but on Airflow's task", **of_task)


def _write(exported: Exported, to: str, output: Path | None, force: bool) -> None:
    if output is None:
        typer.echo(exported.text, nl=False)
    else:
        write_file(output, exported.text, force)
        print_line(f"Wrote {output}, {_words(to)}.")
    for note in exported.notes:
        say(note)


def _listed(value: Any) -> list[Any]:
    """The values of an option; none where it was not given."""
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


def _words(to: str) -> str:
    if to in EXPORTERS:
        return exporter(to).WORDS
    return "a DAG file of Airflow" if to == AIRFLOW else TOOLS[to].words
