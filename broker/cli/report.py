"""`mlbroker report`: what was spent, saved and drawn, and what the month comes to."""

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mlbroker.broker.app.report import TEAM, period
from mlbroker.broker.app.report import report as make
from mlbroker.broker.app.watch_budget import alerts_of, idle_of, live_runs, notify
from mlbroker.broker.cli import options
from mlbroker.broker.cli.report_view import show
from mlbroker.broker.cli.terminal import Terminal, note_copy
from mlbroker.broker.errors import InputError, ThresholdCrossed
from mlbroker.broker.home import home
from mlbroker.broker.judge import policy_of
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.output import print_csv, print_json, say
from mlbroker.broker.report.report import ReportQuery
from mlbroker.broker.report.report_document import RUN_COLUMNS, report_document, run_rows
from mlbroker.broker.report.tally import KEYS
from mlbroker.broker.words import count


class Webhook(StrEnum):
    """What is posted about alerts."""

    SLACK = "slack"
    JSON = "json"


def command(
    month: Annotated[
        str | None, typer.Option(metavar="YYYY-MM", help="Of this month (UTC); default: this one.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="DAY|SPAN", help="From this day, or so long ago: 90d.")
    ] = None,
    by: Annotated[str, typer.Option(help=f"Break down by {', '.join([*KEYS, TEAM])}.")] = "project",
    user: Annotated[str | None, typer.Option("--user", help="Only this user's runs.")] = None,
    project: Annotated[str | None, typer.Option("--project", help="Only this project's.")] = None,
    job: Annotated[str | None, typer.Option("--job", help="Only this job's.")] = None,
    policy: options.Policy = None,
    nodes: Annotated[
        Path | None, typer.Option(help="Your own machines (else MLBROKER_NODES or nodes.yaml).")
    ] = None,
    html: options.Html = None,
    csv_: Annotated[bool, typer.Option("--csv", help="The runs as CSV, one line each.")] = False,
    json: options.Json = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 5 when there is an alert.")
    ] = False,
    webhook: Annotated[
        Webhook | None,
        typer.Option(help="Post new alerts to the URL in MLBROKER_ALERT_URL."),
    ] = None,
) -> None:
    """Show what was spent, saved and drawn, what the month comes to, and what is left of the caps.

    Savings are against the machine that people usually take, as it was predicted at the launch.

    Exit codes: 0, 2 bad input, 5 with --check when a cap, a run or a forecast gives an alert.
    """
    if by not in (*KEYS, TEAM):
        known = ", ".join([*KEYS, TEAM])
        raise InputError(f"{by!r} is nothing to report by", where="--by", hint=f"Known: {known}.")
    if csv_ and json:
        raise InputError("give either --csv or --json", where="--csv")
    now, terminal = datetime.now(UTC), Terminal()
    begin, end = period(month, since, now)
    rules = policy_of(policy)
    query = ReportQuery(begin, end, by, user, project, job, nodes)
    made = make(query, rules, home(), now)
    note_copy(open_ledger(home()))
    # Machines are asked only by who wants to hear of idle ones.
    idle_s = idle_of(live_runs(home(), now)) if check or webhook else {}
    alerts = alerts_of(made.caps, made.open_runs, idle_s, rules, now)
    if html is not None:
        from mlbroker.broker.cli.new_file import write_file
        from mlbroker.broker.report.report_page import report_page

        write_file(html, report_page(made, alerts), force=True)
    if json:
        print_json(report_document(made, alerts))
    elif csv_:
        print_csv(run_rows(made.runs), RUN_COLUMNS)
    else:
        show(made, alerts)
    if html is not None:
        say(f"The page: {html}")
    if webhook is not None:
        notify(alerts, webhook.value, home(), terminal)
    if check and alerts:
        raise ThresholdCrossed(
            f"{count(len(alerts), 'alert')}: {alerts[0].text}",
            hint="`alerts:` in the policy file says when there is one.",
        )
