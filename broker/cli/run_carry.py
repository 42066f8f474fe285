"""The foreground of a run: watch it to its end, and turn the end into an exit code."""

import sys
from pathlib import Path

from mlbroker.broker.cli.ctrl_c import CtrlC, Pressed
from mlbroker.broker.cli.run_view import view
from mlbroker.broker.clouds import opener
from mlbroker.broker.errors import (
    CloudError,
    Interrupted,
    JobFailed,
    MlbrokerError,
    RefusedError,
)
from mlbroker.broker.ledger import Run, State, open_ledger
from mlbroker.broker.output import print_json, say
from mlbroker.broker.runs.background import carry_in_background
from mlbroker.broker.runs.console import last_lines
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.outputs import what_came
from mlbroker.broker.runs.summary import run_summary, spent_words
from mlbroker.broker.words import exact_usd

CONSOLE_LINES = 15


def carry(state: Path, run_id: str, secrets: dict[str, str], ctrl_c: CtrlC, *, json: bool) -> None:
    """Drive the run and report; raises the error of its outcome when it did not succeed.

    Ctrl-C shows between two of the driver's steps and where it waits, nowhere else.
    """
    ledger = open_ledger(state)
    folder = RunFolder.of(state, run_id)
    watching = view(ctrl_c.question, quiet=json)
    driver = Driver(ledger, opener(state), ctrl_c, folder, watching, secrets)
    run: Run | None = None
    stopping = False
    try:
        while run is None or not run.settled:
            try:
                ctrl_c.look()
                run = driver.advance(run_id)
            except Pressed:
                watching.close()
                ctrl_c.answered()
                choice = "detach" if stopping else ask_what_now(ctrl_c)
                ctrl_c.answered()
                if choice == "detach":
                    raise _left(state, run_id, secrets) from None
                if choice == "stop":
                    stopping = True
                    say("Stopping the job; Ctrl-C again leaves the stopping to the background.")
                    ledger.ask_to_stop(ctrl_c.now(), run_id, "Ctrl-C")
                watching.open()
            except KeyboardInterrupt:
                # A second one, as the first was not heard. What it tore apart, if anything, is of
                # this process alone, which does nothing more.
                raise _left(state, run_id, secrets) from None
            except MlbrokerError as error:
                raise CloudError(
                    error.what,
                    where=f"run {run_id}",
                    hint="Its cap holds, and its reservation stays until its end was seen: "
                    "mlbroker reconcile",
                ) from error
    finally:
        watching.close()
    report(run, folder, json)


def ask_what_now(ctrl_c: CtrlC) -> str:
    """Asked once, of a person; where nobody can answer, a Ctrl-C means stop."""
    if not sys.stdin.isatty():
        return "stop"
    answer = ctrl_c.question("\n[s]top the job, [d]etach from it, or [c]ontinue watching? ")
    return {"d": "detach", "c": "continue"}.get((answer or "")[:1], "stop")


def _left(state: Path, run_id: str, secrets: dict[str, str]) -> Interrupted:
    """Hand the run to a process that outlives this terminal, and say so."""
    carry_in_background(state, run_id, secrets)
    return Interrupted("left to itself under its cap", where=f"run {run_id}", hint=_later(run_id))


def detached(state: Path, run: Run, secrets: dict[str, str], *, json: bool) -> None:
    """The whole of `run --detach` after the reservation."""
    carry_in_background(state, run.run_id, secrets)
    if json:
        print_json({"schema": "mlbroker.run/1", **run_summary(run)})
    if run.state is State.QUEUED:
        end = f"mlbroker stop {run.run_id}"
        say(f"Run {run.run_id} waits for its turn: mlbroker queue. End it: {end}")
        return
    say(f"Run {run.run_id} goes on in the background, capped. {_later(run.run_id)}")


def _later(run_id: str) -> str:
    return f"Watch it: mlbroker logs -f {run_id}. End it: mlbroker stop {run_id}"


def report(run: Run, folder: RunFolder, json: bool) -> None:
    """What it came to, and the exit code that goes with it."""
    if json:
        print_json({"schema": "mlbroker.run/1", **run_summary(run), "log": str(folder.log)})
    say(
        f"Run {run.run_id}: {run.outcome}, {spent_words(run)} of {exact_usd(run.cap_usd)} USD spent"
    )
    for line in what_came(run, folder):
        say(line)
    error = error_of(run, folder)
    if error is not None:
        raise error


def error_of(run: Run, folder: RunFolder) -> MlbrokerError | None:
    """What a settled run's exit code says; None where it succeeded."""
    where = f"run {run.run_id}"
    if run.outcome == "succeeded":
        return None
    said = last_lines(folder.console(len(run.attempts)), CONSOLE_LINES)
    if said:
        # Its guest never got to say anything.
        reason = run.detail or "the machine did not get as far as the job"
        lines = "".join(f"\n  | {line}" for line in said)
        text = f"{run.outcome}: {reason}; its console ends with{lines}"
        kind = RefusedError if run.outcome == "capped" else CloudError
        return kind(text, where=where, hint=f"All of it: mlbroker logs {run.run_id} --console")
    if run.outcome == "failed":
        last = run.attempts[-1]
        during = "set-up" if last.why == "setup_failed" else "job"
        on, which = (
            ("", "") if last.rank is None else (f" on rank {last.rank}", f" --rank {last.rank}")
        )
        how = f"ended with exit code {run.exit_code}" if run.exit_code else f"failed: {run.detail}"
        return JobFailed(
            f"the {during} {how}{on}",
            where=where,
            hint=f"Its output: mlbroker logs {run.run_id}{which}",
        )
    if run.outcome == "capped":
        return RefusedError(
            f"the cap of {exact_usd(run.cap_usd)} USD ended the job before it was done",
            where=where,
            hint=f"Raise --budget. What it left is in {folder.path}",
        )
    if run.outcome == "stopped":
        why = run.attempts[-1].why if run.attempts else "stopped"
        if why in ("idle", "overrun"):
            return RefusedError(f"the job was ended ({why}), as asked for", where=where)
        return Interrupted("stopped; everything is accounted for", where=where)
    return CloudError(f"{run.outcome}: {run.detail or 'no machine is left of it'}", where=where)
