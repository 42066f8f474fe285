"""The foreground of a run: watch it to its end, and turn the end into an exit code."""

from pathlib import Path

from mlbroker.broker.cli.output import print_json, say
from mlbroker.broker.cli.run_view import view
from mlbroker.broker.errors import (
    CloudError,
    Interrupted,
    JobFailed,
    MlbrokerError,
    RefusedError,
)
from mlbroker.broker.ledger import Run, open_ledger
from mlbroker.broker.runs.clock import WallClock
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.opening import opener
from mlbroker.broker.runs.paths import RunFolder
from mlbroker.broker.runs.rows import money, run_row


def carry(state: Path, run_id: str, secrets: dict[str, str], *, json: bool) -> None:
    """Drive the run and report; raises the error of its outcome when it did not succeed."""
    ledger, clock = open_ledger(state), WallClock()
    folder = RunFolder.of(state, run_id)
    watching = view(quiet=json)
    driver = Driver(ledger, opener(state), clock, folder, watching, secrets)
    interrupted = False
    try:
        while True:
            try:
                run = driver.drive(run_id)
                break
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                say("Stopping the job; press Ctrl-C again to leave it running under its cap.")
                ledger.append(
                    clock.now(), run_id, "stop_requested", {"why": "stopped", "by": "Ctrl-C"}
                )
    finally:
        watching.close()
    report(run, folder, json)


def report(run: Run, folder: RunFolder, json: bool) -> None:
    """What it came to, and the exit code that goes with it."""
    if json:
        print_json({"schema": "mlbroker.run/1", **run_row(run), "log": str(folder.log)})
    say(
        f"Run {run.run_id}: {run.outcome}, {money(run.spent_usd)} of {money(run.cap_usd)} USD spent"
    )
    if folder.outputs.is_dir():
        say(f"Outputs: {folder.outputs}")
    error = _error(run, folder)
    if error is not None:
        raise error


def _error(run: Run, folder: RunFolder) -> MlbrokerError | None:
    detail = run.attempts[-1].detail if run.attempts else None
    where = f"run {run.run_id}"
    if run.outcome == "succeeded":
        return None
    if run.outcome == "failed":
        during = "set-up" if run.attempts[-1].why == "setup_failed" else "job"
        return JobFailed(
            f"the {during} ended with exit code {run.exit_code}",
            where=where,
            hint=f"Its output: mlbroker logs {run.run_id}",
        )
    if run.outcome == "capped":
        return RefusedError(
            f"the cap of {money(run.cap_usd)} USD ended the job before it was done",
            where=where,
            hint=f"Raise --budget. What it left is in {folder.path}",
        )
    if run.outcome == "stopped":
        why = run.attempts[-1].why if run.attempts else "stopped"
        if why in ("idle", "overrun"):
            return RefusedError(f"the job was ended ({why}), as asked for", where=where)
        return Interrupted("stopped; everything is accounted for", where=where)
    return CloudError(f"{run.outcome}: {detail or 'no machine is left of it'}", where=where)
