"""What Azure itself says the runs of a month cost, by the resource groups that their attempts have.

A run's Logic App is in none of them: a few hundredths of a cent.
"""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from mlbroker.broker.clouds.azure.calls import Calls
from mlbroker.broker.errors import CloudError

_VERSION = "2025-03-01"
_WHERE = "azure cost management"
_GROUP = re.compile(r"mlb-(.+)-\d+")


def billed(first: date) -> dict[str, Decimal]:
    """Run -> USD before taxes, for the month that begins on `first` (UTC)."""
    last = (first + timedelta(days=32)).replace(day=1) - timedelta(days=1)
    # learn.microsoft.com/rest/api/cost-management/query/usage
    wanted = {
        "type": "ActualCost",
        "timeframe": "Custom",
        "timePeriod": {"from": f"{first}T00:00:00Z", "to": f"{last}T23:59:59Z"},
        "dataset": {
            "granularity": "None",
            "aggregation": {"totalCost": {"name": "PreTaxCost", "function": "Sum"}},
            "grouping": [{"type": "Dimension", "name": "ResourceGroup"}],
        },
    }
    found: dict[str, Decimal] = {}
    for row in _rows(Calls(), wanted):
        of_run = _GROUP.fullmatch(str(row["ResourceGroup"]).lower())
        if of_run is None:
            continue
        if row["Currency"] != "USD":
            raise CloudError(
                f"the subscription is billed in {row['Currency']}, and the ledger is in USD",
                where=_WHERE,
                hint=f"Azure says {row['PreTaxCost']} {row['Currency']} of run {of_run[1]}.",
            )
        usd = Decimal(str(row["PreTaxCost"]))
        found[of_run[1]] = found.get(of_run[1], Decimal(0)) + usd
    return found


def _rows(calls: Calls, wanted: dict[str, Any]) -> Iterator[dict[str, Any]]:
    path = f"/subscriptions/{calls.subscription}/providers/Microsoft.CostManagement/query"
    query: dict[str, str] = {}
    while True:
        # The next page is asked for as the first one was: the same body, sent to where it tells.
        answer = calls.ask("POST", path, _VERSION, _WHERE, wanted, **query) or {}
        page = answer["properties"]
        names = [column["name"] for column in page["columns"]]
        yield from (dict(zip(names, row, strict=True)) for row in page["rows"])
        if not page.get("nextLink"):
            return
        query = dict(parse_qsl(urlsplit(page["nextLink"]).query))
        query.pop("api-version", None)
