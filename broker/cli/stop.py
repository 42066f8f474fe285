"""`mlbroker stop`: end runs in order, and account for them."""

import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

import typer

from mlbroker.broker.clouds import opener
from mlbroker.broker.errors import InputError
from mlbroker.broker.home import home
from mlbroker.broker.ledger import IllegalStep, Ledger, Run, open_ledger
from mlbroker.broker.output import say
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.launch import current_user
from mlbroker.broker.runs.view import View
from mlbroker.broker.words import exact_usd

POLL_S = 0.2


def command(
    run: Annotated[list[str] | None, typer.Argument(help="Run id, or its beginning.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every open run.")] = False,
) -> None:
    """Stop a run and account for it. Its checkpoint and outputs are collected first."""
    ledger = open_ledger(home())
    if bool(run) == all_:
        raise InputError("name the runs to stop, or use --all")
    runs = (
        [r for r in ledger.runs() if not r.settled]
        if all_
        else [ledger.find(wanted) for wanted in run or ()]
    )
    for each in runs:
        if each.settled:
            say(f"Run {each.run_id} is over already: {each.outcome}")
        else:
            _request_stop(ledger, each)
            say(f"Run {each.run_id} is asked to stop …")
    for each in runs:
        if not each.settled:
            ended = _see_stopped(ledger, each)
            say(f"Run {ended.run_id}: {ended.outcome}, {exact_usd(ended.spent_usd)} USD spent")


def _request_stop(ledger: Ledger, run: Run) -> None:
    """Leave the wish in the ledger, where whoever carries the run finds it."""
    wish = {"why": "stopped", "by": current_user()}
    with suppress(IllegalStep):  # it ended meanwhile
        ledger.append(datetime.now(UTC), run.run_id, "stop_requested", wish)


def _see_stopped(ledger: Ledger, run: Run) -> Run:
    """Wait for its end; where nobody carries the run, carry it there."""
    folder = RunFolder.of(home(), run.run_id)
    while True:
        with folder.carried(wait=False) as ours:
            current = ledger.run(run.run_id)
            if current is not None and current.settled:
                return current
            if ours:
                driver = Driver(ledger, opener(home()), Clock(), folder, View())
                return driver.drive(run.run_id)
        time.sleep(POLL_S)
