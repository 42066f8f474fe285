"""`mlbroker logs`: a run's output, secrets masked."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mlbroker.broker.cli import completion
from mlbroker.broker.cli.job_output import JobOutput, in_lines
from mlbroker.broker.cli.terminal import note_copy
from mlbroker.broker.clouds import opener
from mlbroker.broker.errors import InputError
from mlbroker.broker.home import home
from mlbroker.broker.ledger import LAST, STUDY, Ledger, Run, open_ledger, share_in
from mlbroker.broker.output import print_line, say
from mlbroker.broker.pipelines.record import PREFIX, find, stage_of
from mlbroker.broker.runs.attempt import intent_of
from mlbroker.broker.runs.console import last_lines
from mlbroker.broker.runs.elsewhere import elsewhere
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.order import Order

POLL_S = 0.2
PIECE_BYTES = 1 << 20
COMPLAINTS = 20


def command(
    run: Annotated[
        str,
        typer.Argument(help="Id of a run or pipeline, or a study.", autocompletion=completion.runs),
    ] = LAST,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends.")] = False,
    rank: Annotated[
        int, typer.Option(min=0, help="Of a run on several machines: which one's output.")
    ] = 0,
    console: Annotated[
        bool, typer.Option("--console", help="What machines said of themselves as they started.")
    ] = False,
) -> None:
    """Show a run's output, the last one's when none is named; or that of a pipeline or a study."""
    ledger = open_ledger(home())
    note_copy(ledger)
    several = _of_whole(ledger, run)
    if not several:
        _show(ledger, ledger.find(run), follow=follow, rank=rank, console=console)
        return
    if follow:
        at_work = [f"{stage_of(each)} {each.run_id}" for each in several if not each.settled]
        names = ", ".join(at_work)
        hint = f"At work: {names}" if names else "It is over: leave --follow out."
        raise InputError(f"is of one run, and {run} has several", where="--follow", hint=hint)
    for each in several:
        say(f"{stage_of(each)}, run {each.run_id}, {each.outcome or each.state}:")
        _show(ledger, each, follow=False, rank=rank, console=console)


def _of_whole(ledger: Ledger, wanted: str) -> Sequence[Run]:
    """The runs of the pipeline with this id, or of the study of this name; none: it is neither."""
    if wanted.startswith(PREFIX):
        return find(ledger.runs(), wanted).runs
    from mlbroker.broker.app.tune import studies

    if wanted not in studies(home()):
        return ()
    shares = [(run, share_in(run, STUDY)) for run in ledger.runs()]
    return [run for run, share in shares if share is not None and share.name == wanted]


def _show(ledger: Ledger, found: Run, *, follow: bool, rank: int, console: bool) -> None:
    other = elsewhere(found, RunFolder.of(home(), found.run_id))
    if other is not None:
        raise InputError(f"its log is not here: {other}", where=f"run {found.run_id}")
    if console:
        _show_consoles(found, home())
        return
    if found.attempts and rank >= found.attempt.nodes:
        raise InputError(f"it has {found.attempt.nodes} machines: --rank counts from 0")
    shown = JobOutput(sys.stdout, alone=True)
    for data in _output(ledger, found, home(), follow, rank):
        shown.write(data)
    shown.close()
    if complaints := last_lines(RunFolder.of(home(), found.run_id).complaints, COMPLAINTS):
        say("Whoever carried it in the background said:")
        for line in complaints:
            say(f"  | {line}")


def _show_consoles(run: Run, state: Path) -> None:
    """Those that were kept: of machines that did not get as far as the job; else the one alive."""
    folder = RunFolder.of(state, run.run_id)
    texts = {
        attempt.number: _piece(folder.console(attempt.number), 0).decode("utf-8", "replace")
        for attempt in run.attempts
    }
    if not any(texts.values()) and run.attempts and not run.settled and run.attempt.machine_id:
        cloud = opener(state)(run.attempt.cloud)
        texts[run.attempt.number] = cloud.console_log(run.attempt.machine_id)
    if not any(texts.values()):
        raise InputError(
            "no console is kept",
            where=f"run {run.run_id}",
            hint="It is kept of machines that are lost, or end before the job says anything.",
        )
    for number, text in texts.items():
        if text:
            print_line(f"attempt {number}:\n{in_lines(text)}")


def _output(ledger: Ledger, run: Run, state: Path, follow: bool, rank: int) -> Iterator[bytes]:
    """What was brought home, and behind it what is still on the machine; a piece at a time."""
    folder = RunFolder.of(state, run.run_id)
    own = folder.of_rank(rank)
    home_offset = 0
    away_offset: int | None = None
    while True:
        current = ledger.run(run.run_id) or run
        if away_offset is None:
            for data in _pieces(partial(_piece, own.log), home_offset):
                home_offset += len(data)
                yield data
        with folder.carried(wait=False) as unattended:
            pass
        # Nobody brings it home: read it where it is.
        if unattended and not current.settled and current.attempts and current.attempt.machine_id:
            if away_offset is None:
                away_offset = own.log_offset(current.attempt.number)
            order = Order.load(folder.path, current.details["order_sha256"])
            intent = intent_of(current, current.attempt, order)
            read = partial(opener(state)(current.attempt.cloud).read_log, intent, rank=rank)
            for data in _pieces(read, away_offset):
                away_offset += len(data)
                yield data
        if not follow or current.settled:
            return
        time.sleep(POLL_S)


def _pieces(read: Callable[[int], bytes], offset: int) -> Iterator[bytes]:
    """All that is there from an offset on, as `read` gives it."""
    while data := read(offset):
        offset += len(data)
        yield data


def _piece(path: Path, offset: int) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(PIECE_BYTES)
    except FileNotFoundError:
        return b""
