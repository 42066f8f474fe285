"""`mlbroker queue`: who waits for a place, in which order, and why."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import typer

from mlbroker.broker.app import queue as service
from mlbroker.broker.cli import completion
from mlbroker.broker.cli.options import Json
from mlbroker.broker.cli.queue_backtest import backtest
from mlbroker.broker.home import home
from mlbroker.broker.ledger import Run, open_ledger
from mlbroker.broker.output import print_json, print_line, print_table, say
from mlbroker.broker.words import count, exact_usd, local_time
from mlbroker.pricing.vendors import vendor

app = typer.Typer(invoke_without_command=True)
COLUMNS = ("#", "run", "job", "user", "USD/h", "starts", "latest", "why")
# Left out one after the other where the terminal is narrow: latest, user, the value of waiting.
SPARE = (6, 3, 4)
RunId = Annotated[
    str, typer.Argument(help="Run id, or its beginning.", autocompletion=completion.runs)
]


@app.callback()
def show(context: typer.Context, json: Json = False) -> None:
    """List the runs that wait for a place of your own machines, the next one first.

    Starts are predicted: in one case of two, and the latest in nine of ten.
    """
    if context.invoked_subcommand is not None:
        return
    found = service.queue_now(home(), datetime.now(UTC))
    if json:
        print_json(found.document())
        return
    for run in found.scheduled:
        print_line(f"{_scheduled(run)}.")
    if not found.waiting:
        say(
            "Nobody waits for a place of your own machines." if found.scheduled else "Nobody waits."
        )
        return
    print_table(COLUMNS, [_cells(each) for each in found.waiting], right=("USD/h",), spare=SPARE)
    places = sum(found.pools.values())
    print_line(
        f"{count(len(found.running), 'run')} on {count(places, 'place')}. An hour of a place costs "
        f"those who wait {exact_usd(found.place_usd_per_h)} USD, beside its price. The order is by "
        f"policy {found.policy}."
    )


def _cells(each: service.Waiting) -> list[str]:
    position = "" if each.position is None else str(each.position)
    moments = [local_time(at)[:16] if at else "?" for at in (each.start_p50_at, each.start_p90_at)]
    value = exact_usd(each.terms.value_usd_per_h)
    return [position, each.run.run_id, each.run.job, each.run.user, value, *moments, each.reason]


@app.command("why")
def why(run: RunId, json: Json = False) -> None:
    """Say why a run waits, what is before it, and when it starts."""
    now = datetime.now(UTC)
    found = service.queue_now(home(), now)
    wanted = open_ledger(home()).find(run)
    mine = next((each for each in found.waiting if each.run.run_id == wanted.run_id), None)
    if json:
        print_json(replace(found, waiting=(mine,) if mine else ()).document())
        return
    if service.is_scheduled(wanted):
        print_line(f"{_scheduled(wanted)}. Its order is its own; the cap is held meanwhile.")
        return
    if mine is None:
        print_line(f"Run {wanted.run_id} does not wait: it is {wanted.outcome or wanted.state}.")
        return
    place = "" if mine.position is None else f"number {mine.position} of {len(found.waiting)}: "
    print_line(f"Run {wanted.run_id} is {place}{mine.reason}.")
    before = [
        e for e in found.waiting if e.position and mine.position and e.position < mine.position
    ]
    for each in before:
        print_line(f"  before it: {each.run.run_id} {each.run.job}, worth "
                   f"{exact_usd(each.terms.value_usd_per_h)} USD/h")  # fmt: skip
    for running in found.running:
        print_line(f"  running: {running.run_id} {running.job}")
    said = service.last_words(home(), wanted)
    if said is not None:
        print_line(f"The process that carries it said: {said}")
    if mine.captures_usd:
        print_line(f"Its work costs those who wait {exact_usd(mine.captures_usd)} USD.")
    if mine.unpredicted:
        print_line(f"When it starts is unknown: {service.UNKNOWN}.")
    elif mine.start_p50_at is not None:
        latest = f", {local_time(mine.start_p90_at)} at the latest" if mine.start_p90_at else ""
        print_line(f"It starts about {local_time(mine.start_p50_at)}{latest} (nine cases in ten).")


def _scheduled(run: Run) -> str:
    why = run.attempt.pending or "it does not say why yet"
    return f"Run {run.run_id} waits in the queue of {vendor(run.attempt.cloud).name}: {why}"


def _change(run: str, word: str, told: str) -> None:
    changed = service.change(home(), run, service.CHANGES[word], datetime.now(UTC))
    say(f"Run {changed.run_id} {told}.")


@app.command("hold")
def hold(run: RunId) -> None:
    """Keep a run from starting until it is released."""
    _change(run, "hold", "is on hold; release it with `mlbroker queue release`")


@app.command("release")
def release(run: RunId) -> None:
    """Let a run that is on hold wait as the others do."""
    _change(run, "release", "waits again, where it stood")


@app.command("top")
def top(run: RunId) -> None:
    """Put a run before all others that wait."""
    _change(run, "top", "goes next")


app.command("backtest")(backtest)
