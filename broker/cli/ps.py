"""`mlbroker ps`: runs and the machines they stand on."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from mlbroker.broker.app.watch_budget import alerts_now, idle_of
from mlbroker.broker.cli.options import Json
from mlbroker.broker.cli.terminal import note_copy
from mlbroker.broker.clouds import opener
from mlbroker.broker.errors import InputError
from mlbroker.broker.home import home
from mlbroker.broker.judge import policy_of
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.output import print_json, print_line, print_table, say, warn
from mlbroker.broker.runs.summary import job_words, live_summary

COLUMNS = ("run", "job", "state", "machine", "progress", "spent USD", "cap USD", "ends by")
# Left out one after the other where the terminal is narrow: machine, cap, progress.
SPARE = (3, 6, 4)


def command(
    all_: Annotated[bool, typer.Option("--all", "-a", help="Settled runs too.")] = False,
    json: Json = False,
) -> None:
    """List runs and their machines: those still open, or all of them."""
    opened = opener(home())
    now = datetime.now(UTC)
    ledger = open_ledger(home())
    note_copy(ledger)
    runs = ledger.runs() if all_ else ledger.open_runs()
    rows = [live_summary(run, opened, home(), now) for run in runs]
    if json:
        print_json({"schema": "mlbroker.ps/1", "runs": rows})
        return
    if not rows:
        say("No run is open." if not all_ else "There are no runs yet.")
        return
    money = ("spent USD", "cap USD")
    print_table(COLUMNS, [_cells(row) for row in rows], right=money, spare=SPARE)
    try:
        alerts = alerts_now(policy_of(None), idle_of(rows), home(), now)
    except InputError as error:
        # Who looks after machines that cost money is not kept from it by a policy file.
        warn(f"no alerts: {error}")
        return
    for alert in alerts:
        print_line(f"ALERT  {alert.text}")


def _cells(row: dict[str, Any]) -> list[str]:
    steps = "" if row["step"] is None else f"{row['step']}/{row['steps'] or '?'}"
    if row["batch_size"] is not None:
        steps = f"{steps} at batch {row['batch_size']}".lstrip()
    state = row["outcome"] or row["phase"] or row["state"]
    if row["unattended"]:
        late = f": {row['late_h']:.1f} h late" if row["late_h"] else ""
        state += f" (unattended{late})"
    if row["checkpoint_fault"]:
        state += " (checkpoint not saved)"
    return [
        row["run_id"],
        job_words(row),
        state,
        f"{row['instance_type']} ({row['cloud']})",
        steps,
        row["spent_usd"],
        row["budget_usd"],
        (row["kill_at"] or row["ended_at"] or "")[:19].replace("T", " "),
    ]
