"""`mlbroker ledger`: what was reserved and spent, by whom, on what."""

from decimal import Decimal
from typing import Annotated

import typer

from mlbroker.broker.cli.output import print_json, print_table, say
from mlbroker.broker.home import home
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.runs.rows import money, run_row


def command(
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Show what was reserved and spent, by whom, on what."""
    rows = [run_row(run) for run in open_ledger(home()).runs()]
    if json:
        print_json({"schema": "mlbroker.ledger/1", "runs": rows})
        return
    columns = ("run_id", "job", "user", "state", "outcome", "reserved_usd", "spent_usd")
    print_table(
        columns,
        [[str(row[name] or "") for name in columns] for row in rows],
        right=("reserved_usd", "spent_usd"),
    )
    spent = sum((Decimal(row["spent_usd"]) for row in rows), Decimal(0))
    held = sum((Decimal(row["reserved_usd"]) for row in rows), Decimal(0))
    say(f"{len(rows)} runs: {money(spent)} USD spent, {money(held)} USD reserved")
