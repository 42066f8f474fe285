"""`mlbroker check`: what a change costs, for people in review and for machines."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mlbroker.broker.app.check import check, verdict
from mlbroker.broker.app.sources import Sources
from mlbroker.broker.ci.check import CostCheck, Thresholds, parse_carbon_kg, parse_share
from mlbroker.broker.ci.formats import FORMATS, renderer, table
from mlbroker.broker.ci.session import CheckRequest
from mlbroker.broker.cli import options
from mlbroker.broker.cli.options import no_effect
from mlbroker.broker.cli.terminal import Terminal
from mlbroker.broker.errors import InputError, MlbrokerError
from mlbroker.broker.files.env_flags import parse_env
from mlbroker.broker.files.values import parse_money_usd, parse_option, parse_takes
from mlbroker.broker.home import home
from mlbroker.broker.output import clean, say, warn

Format = StrEnum("Format", {name: name for name in FORMATS})  # type: ignore[misc]
_TABLE = Format("table")

Paths = Annotated[
    list[Path] | None, typer.Argument(help="Job files, or folders to look for them in.")
]
Base = Annotated[
    str | None, typer.Option(metavar="REF", help="Compare with where HEAD left this branch.")
]
Saved = Annotated[
    Path | None, typer.Option(help="Compare with the saved JSON of an earlier check.")
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write it there instead of to stdout.")
]
MaxIncrease = Annotated[
    str | None, typer.Option(metavar="PERCENT", help="Most a job's cost may grow: 10%.")
]
MaxMonthly = Annotated[str | None, typer.Option(metavar="USD", help="Most a job may cost a month.")]
MaxCarbon = Annotated[str | None, typer.Option(metavar="KG", help="Most kg CO2e a run may emit.")]
Measure = Annotated[
    Path | None, typer.Option(help="A measurements table; the base's version is used for it.")
]
Nodes = Annotated[
    Path | None, typer.Option(help="Your own machines (default: nodes.yaml in MLBROKER_HOME).")
]
Forge = Annotated[
    str | None, typer.Option(metavar="FORGE", help="Comment on a github or gitlab request.")
]
Behavior = Annotated[
    str | None, typer.Option(help="update (the default), new, hide-and-new or delete-and-new.")
]
Tag = Annotated[
    str | None, typer.Option(help="Tells this check's comments from those of other checks.")
]
Repository = Annotated[
    str | None, typer.Option(help="Where to comment; default: what the CI system says.")
]
Number = Annotated[
    int | None, typer.Option(min=1, help="Number of the pull or merge request to comment on.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the comment, send nothing.")]


def command(
    paths: Paths = None,
    base: Base = None,
    compare_to: Saved = None,
    format_: Annotated[Format, typer.Option("--format", help="How to show it.")] = _TABLE,
    json: Annotated[bool, typer.Option("--json", help="Short for --format json.")] = False,
    output: Output = None,
    max_increase: MaxIncrease = None,
    max_cost: Annotated[
        str | None, typer.Option(metavar="USD", help="Most a run may cost.")
    ] = None,
    max_monthly: MaxMonthly = None,
    max_carbon: MaxCarbon = None,
    takes: options.Takes = None,
    env: options.Env = None,
    measure: Measure = None,
    policy: options.Policy = None,
    nodes: Nodes = None,
    prices: options.Prices = None,
    comment: Forge = None,
    behavior: Behavior = None,
    tag: Tag = None,
    repository: Repository = None,
    request: Number = None,
    dry_run: DryRun = False,
) -> None:
    """Price every job file that a change touches, before and after, with one set of prices.

    Exit codes: 0 fine (also when there is no job file), 2 a job file or an option is wrong (the
    other jobs are priced all the same), 4 a touched job fits no machine, 5 a limit is crossed.
    """
    limits = Thresholds(
        parse_option("--max-increase", max_increase, parse_share),
        parse_option("--max-cost", max_cost, parse_money_usd),
        parse_option("--max-monthly", max_monthly, parse_money_usd),
        parse_option("--max-carbon", max_carbon, parse_carbon_kg),
    )
    comment_on = None
    if json and format_ != _TABLE:
        no_effect("with --json", format=format_)
    if comment is None:
        no_effect(
            "without --comment", behavior=behavior, tag=tag, dry_run=dry_run,
            repository=repository, request=request,
        )  # fmt: skip
    else:
        from mlbroker.broker.ci.comment import ReviewRequest, prepare

        target = ReviewRequest(repository, request)
        comment_on = prepare(
            comment, target, behavior or "update", tag or "default", dry_run=dry_run
        )
    said = parse_option("--takes", takes, parse_takes)
    where = tuple(paths or [Path()])
    what = CheckRequest(where, base, compare_to, measure, policy, limits, said, parse_env(env))
    found = check(what, Sources(prices=prices, nodes=nodes), home(), Terminal())
    _show(found, "json" if json else str(format_), output)
    failure = verdict(found)
    if comment_on is not None:
        try:
            comment_on(found)
        except MlbrokerError as error:
            if failure is None:
                raise
            warn(str(error))
    if failure is not None:
        raise failure


def _show(check: CostCheck, name: str, output: Path | None) -> None:
    if output is None and name == "table":
        table.show(check)
        return
    text = renderer(name)(check)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=str(output)) from None
    say(f"Wrote {clean(str(output))}.")
