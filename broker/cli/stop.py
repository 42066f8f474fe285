"""`mlbroker stop`: end runs in order, and account for them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from mlbroker.broker.cli import completion
from mlbroker.broker.clouds import opener
from mlbroker.broker.errors import CloudError, InputError
from mlbroker.broker.home import home, private_folder
from mlbroker.broker.ledger import Ledger, Run, State, open_ledger
from mlbroker.broker.output import say
from mlbroker.broker.pipelines.record import PREFIX, Record, find, folder_of, wish_to_stop
from mlbroker.broker.runs.bypass import Bypass
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.elsewhere import elsewhere
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.launch import current_user
from mlbroker.broker.runs.leading import is_led
from mlbroker.broker.runs.summary import spent_words
from mlbroker.broker.runs.view import View

POLL_S = 0.2
# Who carries a run and does not end it in this time is helped; the guest is only asked again.
GET_ON_S = 5.0
# The job is gone, and whoever carries the run is given so long to bring its files home.
CARRIER_PATIENCE_S = 30.0
MACHINE_PATIENCE_S = 120.0


def command(
    run: Annotated[
        list[str] | None,
        typer.Argument(help="Id of a run or pipeline.", autocompletion=completion.runs),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every open run.")] = False,
) -> None:
    """Stop a run, or all of a pipeline, and account for it.

    Checkpoints and outputs are collected first.
    """
    ledger = open_ledger(home())
    if bool(run) == all_:
        raise InputError("name the runs to stop, or use --all")
    wholes = [] if all_ else [w for w in run or () if w.startswith(PREFIX)]
    single = [wanted for wanted in run or () if wanted not in wholes]
    for wanted in wholes:
        _stop_pipeline(ledger, find(ledger.runs(), wanted))
    runs = ledger.open_runs() if all_ else [ledger.find(wanted) for wanted in single]
    _stop(ledger, runs)


def _stop_pipeline(ledger: Ledger, pipeline: Record) -> None:
    """Its client begins nothing more, and what is at work is ended by whoever is there."""
    share, ended = pipeline.share, False
    wish = wish_to_stop(home(), share)
    private_folder(str(wish.parent.parent))
    private_folder(str(wish.parent))
    wish.touch()
    while not ended:
        # A client may have begun a stage before it saw the wish.
        led_before = is_led(folder_of(home(), share.name))
        runs = find(ledger.runs(), pipeline.pipeline_id).open_runs
        _stop(ledger, runs)
        ended = not runs and not led_before
        if not ended:
            Clock().sleep(POLL_S)
    say(f"Pipeline {pipeline.pipeline_id} is stopped; run it again with --resume.")


def _stop(ledger: Ledger, runs: Sequence[Run]) -> None:
    for each in runs:
        if each.settled:
            say(f"Run {each.run_id} is over already: {each.outcome}")
        else:
            ledger.ask_to_stop(datetime.now(UTC), each.run_id, current_user())
            say(f"Run {each.run_id} is asked to stop …")
    for each in runs:
        if not each.settled:
            say(f"Run {each.run_id}: {_see_stopped(ledger, each)}")


def _see_stopped(ledger: Ledger, run: Run) -> str:
    """Wait for its end, and say what it came to; where nobody carries the run, carry it there.

    One who carries it without getting on (suspended, hung) is not waited for: the job is ended
    past it, and only the closing of the account is left to it.
    """
    folder, clock = RunFolder.of(home(), run.run_id), Clock()
    if other := elsewhere(run, folder):
        return f"{other}, and ended there"
    bypass: Bypass | None = None
    asked_at = moved_at = clock.now()
    while True:
        with folder.carried(wait=False) as ours:
            current = ledger.run(run.run_id) or run
            if current.settled:
                return _ended(current)
            if ours:
                driver = Driver(ledger, opener(home()), clock, folder, View())
                return _ended(driver.drive(run.run_id))
        if current.state is not run.state:
            run, moved_at = current, clock.now()
        carrier = folder.carrier()
        stands = carrier is not None and carrier.stopped
        who = "another process" if carrier is None else str(carrier)
        if bypass is None and (stands or _seconds(clock, asked_at) > GET_ON_S):
            if current.state is not State.QUEUED:
                say(f"Run {run.run_id} is carried by {who}: asking its machine past it …")
            bypass = Bypass(opener(home()), folder, clock)
        if bypass is not None:
            patience_s = POLL_S if stands else CARRIER_PATIENCE_S
            gone, waited_s = bypass.gone(current), _seconds(clock, moved_at)
            if gone and waited_s > patience_s:
                waits = current.state is State.QUEUED
                what = (
                    "it waited and will not start. It is taken out of the queue"
                    if waits
                    else "the job is ended. Its account is closed"
                )
                return f"{what} by {who}: let that go on, or end it and call `mlbroker reconcile`"
            if waited_s > MACHINE_PATIENCE_S:
                raise CloudError(
                    f"could not be ended: {bypass.trouble or 'its machine goes on'}",
                    where=f"run {run.run_id}, carried by {who}",
                    hint="Its cap holds; try again later.",
                )
        clock.sleep(POLL_S)


def _ended(run: Run) -> str:
    return f"{run.outcome}, {spent_words(run)} USD spent"


def _seconds(clock: Clock, since: datetime) -> float:
    return (clock.now() - since).total_seconds()
