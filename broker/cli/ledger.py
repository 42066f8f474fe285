"""`mlbroker ledger`: what was reserved and spent, by whom, on what."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from mlbroker.broker.app import ledger as reports
from mlbroker.broker.app.ledger import RunFilter
from mlbroker.broker.cli.options import Json, no_effect
from mlbroker.broker.cli.terminal import note_copy
from mlbroker.broker.errors import InputError
from mlbroker.broker.home import home
from mlbroker.broker.ledger import LedgerError, open_ledger
from mlbroker.broker.ledger.state import ADAPT
from mlbroker.broker.output import print_csv, print_json, print_rows, say
from mlbroker.broker.runs.summary import job_words
from mlbroker.broker.words import count

app = typer.Typer(invoke_without_command=True)

COLUMNS = ("run_id", "job", "user", "project", "state", "outcome", "reserved_usd", "spent_usd")
# Left out one after the other where the terminal is narrow: user, state, project.
SPARE = (2, 4, 3)
ATTEMPT_COLUMNS = {
    "try": "attempt", "zone": "zone", "market": "market", "from (UTC)": "from", "until": "until",
    "ended": "why", "USD": "charged_usd",
}  # fmt: skip
BILL_COLUMNS = ("run_id", "job", "ledger_usd", "billed_usd", "difference_usd", "finding")
MONEY = ("reserved_usd", "spent_usd", "ledger_usd", "billed_usd", "difference_usd")

RunOption = Annotated[str | None, typer.Option("--run", help="Only runs whose id begins so.")]
UserOption = Annotated[str | None, typer.Option("--user", help="Only this user's.")]
ProjectOption = Annotated[str | None, typer.Option("--project", help="Only this project's.")]
JobOption = Annotated[str | None, typer.Option("--job", help="Only this job's.")]
MonthOption = Annotated[
    str | None, typer.Option("--month", metavar="YYYY-MM", help="Only runs of this month (UTC).")
]


class Format(StrEnum):
    """How an export is written."""

    CSV = "csv"
    JSON = "json"
    FOCUS = "focus"
    OPENCOST = "opencost"


@app.callback()
def show(
    context: typer.Context,
    run: Annotated[
        str | None,
        typer.Option(help="Only this run, or a pipeline's, with every machine they asked for."),
    ] = None,
    user: UserOption = None,
    project: ProjectOption = None,
    job: JobOption = None,
    month: MonthOption = None,
    json: Json = False,
) -> None:
    """Show what was reserved and spent, by whom, on what."""
    if context.invoked_subcommand is not None:
        filters = {"run": run, "user": user, "project": project, "job": job, "month": month}
        name = context.invoked_subcommand
        no_effect(f"before `{name}`: it goes after it", **filters, json=json)
        return
    wanted = RunFilter(run, user, project, job, month)
    rows = reports.runs(home(), wanted)
    note_copy(open_ledger(home()))
    total = reports.total(rows)
    tries = None if run is None else reports.attempts(home(), wanted)
    if json:
        document = {"schema": "mlbroker.ledger/1", "runs": rows, "total": total}
        print_json(document if tries is None else document | {"attempts": tries})
        return
    named = [row | {"job": job_words(row)} for row in rows]
    print_rows({name: name for name in COLUMNS}, named, right=MONEY, spare=SPARE)
    say(
        f"{count(len(rows), 'run')}: {total['spent_usd']} USD spent, "
        f"{total['reserved_usd']} USD reserved"
    )
    if tries:
        say("")
        print_rows(ATTEMPT_COLUMNS, [_in_words(row) for row in tries], right=("USD",))
    for row in tries or ():
        if row["why"] == ADAPT:
            say(f"attempt {row['attempt']} of {row['run_id']} went on with {row['detail']}")
    for row in rows:
        if row["spent_at_most"]:
            say(
                f"{row['run_id']} cost at most that: nobody tells when its machine ended. "
                f"`mlbroker ledger reconcile-bill` shows what was billed."
            )


def _in_words(attempt: dict[str, Any]) -> dict[str, Any]:
    """A machine of a run that was asked for, no wider than a terminal."""
    until = attempt["ended_at"]
    return attempt | {
        "attempt": str(attempt["attempt"]),
        "from": attempt["intended_at"][:19].replace("T", " "),
        "until": until[11:19] if until else "",
    }


@app.command("reconcile-bill")
def reconcile_bill(
    cloud: Annotated[str, typer.Option(help="Whose bill.")],
    month: Annotated[
        str | None, typer.Option(metavar="YYYY-MM", help="Of which month (UTC); default: this one.")
    ] = None,
    json: Json = False,
) -> None:
    """Compare runs' costs with what the vendor bills for them.

    AWS: Cost Explorer, at 0.01 USD a request; switch `mlbroker-run` on as a cost allocation tag.
    Google Cloud: your billing export in BigQuery, which MLBROKER_GCP_BILLING_EXPORT names.
    Azure: Cost Management. Bills lag a day or more.
    """
    found = reports.bill(home(), cloud, month)
    if json:
        print_json(found)
        return
    print_rows({name: name for name in BILL_COLUMNS}, found["runs"], right=MONEY)
    odd = [row for row in found["runs"] if row["finding"] not in ("agrees", "not billed yet")]
    say(f"{count(len(found['runs']), 'run')}, {len(odd)} to look at.")
    for run_id in found["proofs"]:
        say(f"The report of the proof {run_id} is complete.")


@app.command()
def verify(
    head: Annotated[
        str | None, typer.Option(help="A head noted earlier (SEQ:HASH) that must still be there.")
    ] = None,
    json: Json = False,
) -> None:
    """Check the chain of hashes, runs' order, and balances."""
    found = reports.verified(home(), head)
    if json:
        print_json(found)
    if not found["ok"]:
        raise LedgerError(
            found["damage"],
            hint="Restore a backup; nothing is launched on a damaged ledger's word.",
        )
    say(f"{count(found['facts'], 'fact')}, all in order. Head, to note down: {found['head']}")


@app.command()
def migrate(
    from_sqlite: Annotated[
        bool,
        typer.Option("--from-sqlite", help="Copy this state folder's ledger into it, if empty."),
    ] = False,
    writer: Annotated[
        str | None,
        typer.Option(metavar="ROLE", help="Let this database role add facts, and change none."),
    ] = None,
    json: Json = False,
) -> None:
    """Make or upgrade a team's ledger on PostgreSQL.

    MLBROKER_LEDGER, or `ledger:` of the policy file, names the database. A copy is checked by the
    chain before and after, and has the head of the original.
    """
    from mlbroker.broker.app import team_ledger

    done = team_ledger.migrate(home(), from_sqlite=from_sqlite, writer=writer)
    if json:
        print_json(done)
        return
    before = done["format_before"]
    how = "made anew" if before is None else f"it had {before}"
    say(f"{done['ledger']} has format {done['format']}; {how}.")
    if from_sqlite:
        say("The ledger of this state folder is copied; its file stays as it is, and is not used.")
    say(f"{count(done['facts'], 'fact')}. Head, to note down: {done['head']}")


@app.command()
def export(
    format_: Annotated[
        Format, typer.Option("--format", help="csv, json, focus (CSV) or opencost (JSON).")
    ] = Format.CSV,
    facts: Annotated[bool, typer.Option(help="Every single fact, not one row a run.")] = False,
    run: RunOption = None,
    user: UserOption = None,
    project: ProjectOption = None,
    job: JobOption = None,
    month: MonthOption = None,
) -> None:
    """Write runs, single facts, or charges, to stdout."""
    wanted = RunFilter(run, user, project, job, month)
    if format_ in (Format.FOCUS, Format.OPENCOST):
        no_effect(f"with --format {format_}: it tells charges", facts=facts)
        _export_charges(format_, wanted)
        return
    if facts:
        if any((user, project, job, month)):
            raise InputError("--facts goes with --run only")
        rows = reports.facts(home(), run)
    else:
        rows = reports.runs(home(), wanted)
    if format_ is Format.JSON:
        print_json({"schema": "mlbroker.ledger-export/1", "facts" if facts else "runs": rows})
        return
    from json import dumps

    print_csv([{k: dumps(v) if isinstance(v, dict) else v for k, v in row.items()} for row in rows])


def _export_charges(format_: Format, wanted: RunFilter) -> None:
    """As cost reports want them."""
    from mlbroker.broker.app import exports

    if format_ is Format.OPENCOST:
        print_json(exports.opencost(home(), wanted))
    else:
        rows = exports.focus(home(), wanted)
        print_csv(rows)
        if not rows:
            say("Nothing was charged.")
