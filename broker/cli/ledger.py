"""`mlbroker ledger`: what was reserved and spent, by whom, on what."""

import csv
import sys
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

import typer

from mlbroker.broker.cli.ledger_bill import reconcile_bill
from mlbroker.broker.cli.options import no_effect
from mlbroker.broker.errors import InputError
from mlbroker.broker.home import home
from mlbroker.broker.ledger import LedgerError, Run, open_ledger
from mlbroker.broker.output import print_json, print_table, say
from mlbroker.broker.runs.summary import money, run_summary
from mlbroker.broker.words import count

app = typer.Typer(invoke_without_command=True)
app.command("reconcile-bill")(reconcile_bill)

COLUMNS = ("run_id", "job", "user", "project", "state", "outcome", "reserved_usd", "spent_usd")

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


@app.callback()
def show(
    context: typer.Context,
    run: RunOption = None,
    user: UserOption = None,
    project: ProjectOption = None,
    job: JobOption = None,
    month: MonthOption = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Show what was reserved and spent, by whom, on what."""
    if context.invoked_subcommand is not None:
        filters = {"run": run, "user": user, "project": project, "job": job, "month": month}
        name = context.invoked_subcommand
        no_effect(f"before `{name}`: it goes after it", **filters, json=json)
        return
    rows = _rows(run, user, project, job, month)
    if json:
        print_json({"schema": "mlbroker.ledger/1", "runs": rows, "total": _total(rows)})
        return
    print_table(
        COLUMNS,
        [[str(row[name] or "") for name in COLUMNS] for row in rows],
        right=("reserved_usd", "spent_usd"),
    )
    total = _total(rows)
    say(
        f"{count(len(rows), 'run')}: {total['spent_usd']} USD spent, "
        f"{total['reserved_usd']} USD reserved"
    )


@app.command()
def verify(
    head: Annotated[
        str | None, typer.Option(help="A head noted earlier (SEQ:HASH) that must still be there.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Check the chain of hashes, runs' order, and balances."""
    ledger = open_ledger(home())
    found = ledger.verify()
    facts, hash_ = ledger.head() if found is None else (0, "")
    if found is None and head is not None:
        found_head = any(f"{fact.seq}:{fact.hash}" == head for fact in ledger.facts())
        if not found_head:
            raise LedgerError(f"the fact {head} is not in the ledger: history was cut or replaced")
    if json:
        print_json(
            {
                "schema": "mlbroker.ledger-verify/1",
                "ok": found is None,
                "facts": facts,
                "head": f"{facts}:{hash_}" if found is None else None,
                "damage": found.what if found else None,
            }
        )
    if found is not None:
        raise LedgerError(
            found.what, hint="Restore a backup; nothing is launched on a damaged ledger's word."
        )
    say(f"{count(facts, 'fact')}, all in order. Head, to note down: {facts}:{hash_}")


@app.command()
def export(
    format_: Annotated[Format, typer.Option("--format", help="csv or json.")] = Format.CSV,
    facts: Annotated[bool, typer.Option(help="Every single fact, not one row a run.")] = False,
    run: RunOption = None,
    user: UserOption = None,
    project: ProjectOption = None,
    job: JobOption = None,
    month: MonthOption = None,
) -> None:
    """Write runs, or the facts themselves, to stdout."""
    if facts:
        if any((user, project, job, month)):
            raise InputError("--facts goes with --run only")
        rows: list[dict[str, Any]] = [
            {
                "seq": fact.seq,
                "at": fact.at.isoformat(),
                "run_id": fact.run_id,
                "kind": fact.kind,
                "body": dict(fact.body),
                "hash": fact.hash,
            }
            for fact in open_ledger(home()).facts()
            if fact.run_id.startswith(run or "")
        ]
    else:
        rows = _rows(run, user, project, job, month)
    if format_ is Format.JSON:
        print_json({"schema": "mlbroker.ledger-export/1", "facts" if facts else "runs": rows})
        return
    from json import dumps

    writer = csv.writer(sys.stdout, lineterminator="\n")
    if rows:
        writer.writerow(rows[0])
    for row in rows:
        writer.writerow(_cell(dumps(v) if isinstance(v, dict) else v) for v in row.values())


def _cell(value: object) -> str:
    """A leading = + - @ would be a formula to a spreadsheet."""
    text = "" if value is None else str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _rows(
    run: str | None, user: str | None, project: str | None, job: str | None, month: str | None
) -> list[dict[str, Any]]:
    if month is not None:
        try:
            datetime.strptime(month, "%Y-%m")
        except ValueError:
            raise InputError(f"{month!r} is not a month", where="--month", hint="2026-11") from None

    def wanted(each: Run) -> bool:
        return (
            each.run_id.startswith(run or "")
            and user in (None, each.user)
            and project in (None, each.project)
            and job in (None, each.job)
            and month in (None, f"{each.reserved_at:%Y-%m}")
        )

    return [run_summary(each) for each in open_ledger(home()).runs() if wanted(each)]


def _total(rows: list[dict[str, Any]]) -> dict[str, str]:
    names = ("reserved_usd", "spent_usd")
    return {n: money(sum((Decimal(row[n]) for row in rows), Decimal(0))) for n in names}
