"""Cost Management's query of usage, as far as it is asked: a month's costs by resource group."""

import json
import re
from typing import Any
from urllib.parse import urlencode

from tests.support.azure.schema import found, refuse
from tests.support.loopback_http import Answer, TokenRequest

PATH = "/providers/Microsoft.CostManagement/query"
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


class Bills:
    """`usd` is what each run is billed; half of it for each of two attempts, a group a page."""

    def __init__(self, usd: dict[str, str]) -> None:
        self._usd = usd
        self.currency = "USD"

    def answer(self, request: TokenRequest, url: str) -> Answer:
        wrong = _wrong(json.loads(request.body))
        if wrong is not None:
            return refuse(400, "BadRequest", f"Invalid query definition: {wrong}")
        rows: list[tuple[float, str]] = [(12.5, "mlbroker-eastus"), (3.25, "mlb-network")]
        for run, usd in sorted(self._usd.items()):
            rows += [(float(usd) / 2, f"mlb-{run}-{attempt}") for attempt in (1, 2)]
        at = int(request.query.get("$skiptoken", "0"))
        more = urlencode({"api-version": request.query["api-version"], "$skiptoken": at + 1})
        is_last = at + 1 >= len(rows)
        usd_of, group = rows[at]
        return found(
            {
                "type": "Microsoft.CostManagement/query",
                "properties": {
                    "nextLink": None if is_last else f"{url}{request.path}?{more}",
                    "columns": [
                        {"name": "PreTaxCost", "type": "Number"},
                        {"name": "ResourceGroup", "type": "String"},
                        {"name": "Currency", "type": "String"},
                    ],
                    "rows": [[usd_of, group, self.currency]],
                },
            }
        )


def _wrong(wanted: dict[str, Any]) -> str | None:
    """What of it is not as the reference has it (…/rest/api/cost-management/query/usage)."""
    if wanted.get("type") not in ("Usage", "ActualCost", "AmortizedCost"):
        return "type"
    period = wanted.get("timePeriod", {})
    if wanted.get("timeframe") != "Custom" or set(period) != {"from", "to"}:
        return "timePeriod"
    if not all(_MOMENT.fullmatch(moment) for moment in period.values()):
        return "timePeriod"
    dataset = wanted["dataset"]
    if dataset.get("granularity") not in ("None", "Daily"):
        return "granularity"
    if list(dataset["aggregation"].values()) != [{"name": "PreTaxCost", "function": "Sum"}]:
        return "aggregation"
    if dataset["grouping"] != [{"type": "Dimension", "name": "ResourceGroup"}]:
        return "grouping"
    return None
