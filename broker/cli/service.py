"""`mlbroker service`: hold a running service's cap, show how it stands, and end its guard."""

import signal
import sys
from contextlib import ExitStack
from datetime import datetime
from typing import Annotated, Any

import typer

from mlbroker.broker.app.service_guard import GuardRequest, Prepared, prepare
from mlbroker.broker.app.service_status import journal_of, look_document
from mlbroker.broker.app.service_status import status as status_of
from mlbroker.broker.app.service_status import stop as stop_service
from mlbroker.broker.cli import options
from mlbroker.broker.cli.ctrl_c import CtrlC, Pressed
from mlbroker.broker.cli.report import Webhook
from mlbroker.broker.cli.terminal import Terminal
from mlbroker.broker.errors import CloudError
from mlbroker.broker.files.values import parse_duration_s, parse_option, parse_price_usd
from mlbroker.broker.home import home
from mlbroker.broker.output import print_json, print_json_line, print_line, print_table, say
from mlbroker.broker.services.guard import Guard
from mlbroker.broker.services.journal import Look
from mlbroker.broker.words import count, local_time, span

app = typer.Typer(no_args_is_help=True)
ServiceName = Annotated[
    str | None, typer.Argument(metavar="[SERVICE]", help="Its name or job file; else the only one.")
]
_POLL_S = 1.0


@app.callback()
def group() -> None:
    """Hold the cap of a service that runs on an engine of its own."""


@app.command("guard")
def guard(
    job: options.JobFile,
    engine: Annotated[
        str, typer.Option(help="aws:REGION/GROUP, or loopback:http://127.0.0.1:PORT.")
    ],
    price_per_hour_usd: Annotated[
        str | None, typer.Option(help="Of one replica; else the planned price of the pinned type.")
    ] = None,
    capacity_rps: Annotated[
        float | None, typer.Option(help="Requests a second of one replica; else as measured.")
    ] = None,
    lease: Annotated[
        str | None, typer.Option(help="How long a maximum holds if nobody looks: 5m.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Look once, for cron and CI.")] = False,
    month_length: Annotated[
        str | None, typer.Option(help="Months of this length, to try a cap in minutes.")
    ] = None,
    webhook: Annotated[
        Webhook | None, typer.Option(help="Post alarms to the URL in MLBROKER_ALERT_URL.")
    ] = None,
    policy: options.Policy = None,
    project: options.Project = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document a look.")] = False,
) -> None:
    """Hold a service's budgets by its engine's maximum.

    Each maximum is reserved in the ledger first, and has an end: where the guard dies, the engine
    falls back by itself to what it may run until the budget's end. Ctrl-C (and SIGTERM) leaves it
    there.

    Exit codes: 0 ended, or looked once; 1 the engine does not answer, 2 bad input, 3 there is a
    guard already or a budget refuses, 4 the fewest replicas break a budget.
    """
    terminal = Terminal()
    request = GuardRequest(
        job, engine, parse_option("--price-per-hour-usd", price_per_hour_usd, parse_price_usd),
        capacity_rps, parse_option("--lease", lease, parse_duration_s),
        parse_option("--month-length", month_length, parse_duration_s), policy, project,
    )  # fmt: skip
    prepared = prepare(request, home(), terminal)
    with ExitStack() as stack:
        ctrl_c = stack.enter_context(CtrlC())
        found = stack.enter_context(prepared.guarding(terminal))
        # As a service manager ends it: in order, too.
        signal.signal(signal.SIGTERM, lambda *_: prepared.journal.ask_to_stop())
        look = found.look()
        _show(look, prepared, json)
        _alarm(found, look, webhook)
        if once:
            return
        try:
            while _waits(found, ctrl_c, prepared.every_s):
                look = _look(found, terminal) or look
                _show(look, prepared, json)
                _alarm(found, look, webhook)
        except Pressed:
            ctrl_c.answered()
        look = found.look(ends=True)
        _show(look, prepared, json)
        say(f"The guard has ended: from now on at most {count(look.most, 'replica')}.")


@app.command("status")
def status(service: ServiceName = None, json: options.Json = False) -> None:
    """Show what a service has spent of its budgets, and what it may run."""
    told = status_of(journal_of(home(), service))
    if json:
        print_json(told)
        return
    dead = "" if told["guard"] else " There is no guard: at most the safe ceiling after the lease."
    print_line(f"{told['service']} on {told['engine']}, {told['price_per_hour_usd']} USD an hour.")
    if told["looked_at"] is None:
        print_line(f"Nobody has looked yet.{dead}")
        return
    print_line(
        f"{told['running']} running, {told['ready']} ready, {told['wanted']} wanted; at most"
        f" {told['most']} until {_clock(told['until'])}, then {told['safe_ceiling']}."
    )
    right = ("spent USD", "cap USD", "by its end", "10 %", "90 %")
    rows = []
    for name, each in told["budgets"].items():
        coming = each["forecast_usd"]
        usd = [each["spent_usd"], each["cap_usd"], coming["p50"], coming["p10"], coming["p90"]]
        rows.append([name, *(f"{float(one):,.2f}" for one in usd)])
    print_table(["budget", *right], rows, right=right)
    print_line(f"Looked {span(told['age_s'])} ago.{dead}")


@app.command("stop")
def stop(service: ServiceName = None) -> None:
    """End a service's guard; the engine runs on, at the safe ceiling."""
    journal = journal_of(home(), service)
    look = stop_service(journal, home(), Terminal())
    say(
        f"Service {journal.name} has no guard any more: its engine runs on, at most"
        f" {count(look.most, 'replica')}. Nothing of it is reserved in the ledger."
    )


def _waits(found: Guard, ctrl_c: CtrlC, seconds: float) -> bool:
    """Until the next look; false where somebody wants the guard to end. Pressed on Ctrl-C."""
    left_s = seconds
    while left_s > 0:
        if found.stop_asked():
            return False
        ctrl_c.sleep(min(left_s, _POLL_S))
        left_s -= _POLL_S
    return True


def _look(found: Guard, terminal: Terminal) -> Look | None:
    try:
        return found.look()
    except CloudError as error:
        terminal.warn(f"{error}; what it was told last holds")
        return None


def _alarm(found: Guard, look: Look, webhook: Webhook | None) -> None:
    text = found.alarm(look)
    if text is None:
        return
    terminal = Terminal()
    terminal.warn(text)
    if webhook is not None:
        from mlbroker.broker.app.watch_budget import notify
        from mlbroker.policies.alerts import Alert

        day = datetime.fromtimestamp(look.sight.wall_ms / 1000).date()
        key = f"service-surge:{found.name}:{day}"
        notify([Alert("service-surge", key, text)], webhook.value, home(), terminal)


def _show(look: Look, prepared: Prepared, json: bool) -> None:
    told = look_document(look, prepared.setup)
    if json:
        print_json_line(told)
        return
    spent = ", ".join(
        f"{float(each['spent_usd']):,.2f} of {float(each['cap_usd']):,.2f} USD a {name}"
        for name, each in told["budgets"].items()
    )
    print_line(
        f"{_clock(told['looked_at'])} {told['running']} running, {told['wanted']} wanted for"
        f" {told['requests_per_s']:g} a second; at most {told['most']}, then"
        f" {told['safe_ceiling']}; {spent}"
    )
    sys.stdout.flush()


def _clock(moment: str) -> Any:
    return local_time(datetime.fromisoformat(moment))
