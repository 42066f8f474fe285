"""`mlbroker ledger reconcile-bill`: our books against the vendor's own figures, run by run."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any

import typer

from mlbroker.broker.clouds import clouds_with, role_of
from mlbroker.broker.errors import InputError
from mlbroker.broker.home import home
from mlbroker.broker.ledger import Run, open_ledger
from mlbroker.broker.output import print_json, print_table, say
from mlbroker.broker.runs.summary import money

COLUMNS = ("run_id", "job", "ledger_usd", "billed_usd", "difference_usd", "finding")
# Vendors round each line; beyond this share a difference is worth a look.
TOLERANCE = Decimal("0.05")


def reconcile_bill(
    cloud: Annotated[str, typer.Option(help="Whose bill.")],
    month: Annotated[
        str | None, typer.Option(metavar="YYYY-MM", help="Of which month (UTC); default: this one.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Compare runs' costs with what the vendor bills for them.

    On AWS it asks Cost Explorer, which charges 0.01 USD a request, and needs `mlbroker-run`
    to be switched on as a cost allocation tag. Bills lag up to a day.
    """
    known = clouds_with("bill")
    if cloud not in known:
        raise InputError(
            f"no bill of {cloud!r}", where="--cloud", hint=f"Known: {', '.join(known)}."
        )
    first = _first_day(month)
    runs = [run for run in open_ledger(home()).runs() if _in(run, cloud, first)]
    rows = compare(runs, role_of(cloud, "bill").billed(first))
    if json:
        print_json(
            {"schema": "mlbroker.bill/1", "cloud": cloud, "month": f"{first:%Y-%m}", "runs": rows}
        )
        return
    print_table(
        COLUMNS,
        [[str(row[name] if row[name] is not None else "") for name in COLUMNS] for row in rows],
        right=("ledger_usd", "billed_usd", "difference_usd"),
    )
    odd = [row for row in rows if row["finding"] not in ("agrees", "not billed yet")]
    say(f"{len(rows)} runs, {len(odd)} to look at.")


def compare(runs: Sequence[Run], billed: Mapping[str, Decimal]) -> list[dict[str, Any]]:
    """Every run that either side knows, with what the difference means."""
    rows = [_row(run.run_id, run.job, run.spent_usd, billed.get(run.run_id)) for run in runs]
    known = {run.run_id for run in runs}
    rows += [_row(id_, None, None, usd) for id_, usd in sorted(billed.items()) if id_ not in known]
    return rows


def _row(
    run_id: str, job: str | None, ours: Decimal | None, theirs: Decimal | None
) -> dict[str, Any]:
    difference = None if ours is None or theirs is None else theirs - ours
    return {
        "run_id": run_id,
        "job": job,
        "ledger_usd": None if ours is None else money(ours),
        "billed_usd": None if theirs is None else money(theirs),
        "difference_usd": None if difference is None else money(difference),
        "finding": _finding(ours, theirs),
    }


def _finding(ours: Decimal | None, theirs: Decimal | None) -> str:
    if ours is None:
        return "not in this ledger"
    if theirs is None:
        return "not billed yet"
    if theirs > ours * (1 + TOLERANCE):
        return "billed more"
    return "billed less" if theirs < ours * (1 - TOLERANCE) else "agrees"


def _first_day(month: str | None) -> date:
    if month is None:
        return datetime.now(UTC).date().replace(day=1)
    try:
        return datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC).date()
    except ValueError:
        raise InputError("is no month", where="--month", hint="Write it as 2026-11.") from None


def _in(run: Run, cloud: str, first: date) -> bool:
    started = run.reserved_at.astimezone(UTC).date()
    return (started.year, started.month) == (first.year, first.month) and any(
        attempt.cloud == cloud and attempt.machine_id for attempt in run.attempts
    )
