"""`mlbroker check`: what a change costs, for people in review and for machines."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mlbroker.broker.app.sources import with_nodes
from mlbroker.broker.ci.check import CostCheck
from mlbroker.broker.ci.formats import FORMATS, renderer, table
from mlbroker.broker.ci.formats.words import counted
from mlbroker.broker.ci.session import Request, now_or_pinned, run_check
from mlbroker.broker.ci.thresholds import Thresholds, parse_carbon_kg, parse_share
from mlbroker.broker.cli.options import no_effect
from mlbroker.broker.errors import InputError, MlbrokerError, NothingFeasible, ThresholdCrossed
from mlbroker.broker.files.values import parse_money_usd, parse_option
from mlbroker.broker.home import home
from mlbroker.broker.measure.store import MeasurementStore
from mlbroker.broker.output import clean, say, warn
from mlbroker.broker.prices.price_book import open_book

Format = StrEnum("Format", {name: name for name in FORMATS})  # type: ignore[misc]
_TABLE = Format("table")


def command(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Job files, or folders to look for them in.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(metavar="REF", help="Compare with where HEAD left this branch.")
    ] = None,
    compare_to: Annotated[
        Path | None, typer.Option(help="Compare with the saved JSON of an earlier check.")
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="How to show it.")] = _TABLE,
    json: Annotated[bool, typer.Option("--json", help="Short for --format json.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it there instead of to stdout.")
    ] = None,
    max_increase: Annotated[
        str | None, typer.Option(metavar="PERCENT", help="Most a job's cost may grow: 10%.")
    ] = None,
    max_cost: Annotated[
        str | None, typer.Option(metavar="USD", help="Most a run may cost.")
    ] = None,
    max_monthly: Annotated[
        str | None, typer.Option(metavar="USD", help="Most a job may cost a month.")
    ] = None,
    max_carbon: Annotated[
        str | None, typer.Option(metavar="KG", help="Most kg CO2e a run may emit.")
    ] = None,
    measure: Annotated[
        Path | None, typer.Option(help="A measurements table; the base's version is used for it.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="Policy file; else mlbroker-policy.yaml upward.")
    ] = None,
    nodes: Annotated[
        Path | None, typer.Option(help="Your own machines (default: nodes.yaml in MLBROKER_HOME).")
    ] = None,
    prices: Annotated[
        Path | None, typer.Option(help="A price file to use in place of the book, for this call.")
    ] = None,
    comment: Annotated[
        str | None, typer.Option(metavar="FORGE", help="Comment on a github or gitlab request.")
    ] = None,
    behavior: Annotated[
        str | None, typer.Option(help="update (the default), new, hide-and-new or delete-and-new.")
    ] = None,
    tag: Annotated[
        str | None, typer.Option(help="Tells this check's comments from those of other checks.")
    ] = None,
    repository: Annotated[
        str | None, typer.Option(help="Where to comment; default: what the CI system says.")
    ] = None,
    request: Annotated[
        int | None, typer.Option(min=1, help="Number of the pull or merge request to comment on.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the comment, send nothing.")
    ] = False,
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
    now = now_or_pinned()
    book = open_book(home(), prices, today=now.date())
    for notice in book.notices:
        warn(notice)
    check = run_check(
        Request(tuple(paths or [Path()]), base, compare_to, measure, policy, limits),
        with_nodes(book, home(), nodes),
        MeasurementStore(home()),
        now,
    )
    _show(check, "json" if json else str(format_), output)
    verdict = _verdict(check)
    if comment_on is not None:
        try:
            comment_on(check)
        except MlbrokerError as error:
            if verdict is None:
                raise
            warn(str(error))
    if verdict is not None:
        raise verdict


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


def _verdict(check: CostCheck) -> MlbrokerError | None:
    """What the check ends with: what could not be read weighs most, then limits."""
    if check.broken:
        told = [str(job.pair.problem).replace("\n  ", ": ") for job in check.broken[:5]]
        more = [f"and {len(check.broken) - 5} more"] if len(check.broken) > 5 else []
        return InputError(
            f"{counted(len(check.broken), 'job file')} cannot be read",
            hint="\n  ".join(told + more),
        )
    if check.crossed:
        told = [
            f"--{crossing.limit}: {crossing.job.pair.path} ({crossing.job.pair.name})"
            f" {crossing.message}"
            for crossing in check.crossed
        ]
        return ThresholdCrossed(f"{counted(len(told), 'limit')} crossed", hint="\n  ".join(told))
    if check.infeasible:
        told = [f"{job.pair.path} ({job.pair.name})" for job in check.infeasible[:5]]
        return NothingFeasible(
            f"no machine for {counted(len(check.infeasible), 'job')}", hint=", ".join(told)
        )
    return None
