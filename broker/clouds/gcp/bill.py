"""What Google itself says the runs of a month cost, by the label that machines and disks carry.

Google has no interface that tells costs by label. Its billing account can be exported to BigQuery,
once it is told to (cloud.google.com/billing/docs/how-to/export-data-bigquery); that table is asked.
"""

import os
import re
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from mlbroker.broker.clouds.gcp.calls import Calls
from mlbroker.broker.clouds.interface import RUN_TAG, Unclear
from mlbroker.broker.errors import InputError

BIGQUERY = "https://bigquery.googleapis.com/bigquery/v2/"
# The user's billing export: PROJECT.DATASET.gcp_billing_export_v1_….
EXPORT = "MLBROKER_GCP_BILLING_EXPORT"
_TABLE = re.compile(r"[a-z0-9][a-z0-9:.-]*\.\w+\.\w+", re.ASCII)
# A query is billed by what it reads, this much at 0.06 USD (cloud.google.com/bigquery/pricing).
MOST_BYTES = 10 * 2**30
WAIT_MS = 20000
WAITS = 6
_WHERE = "BigQuery"
# Before credits, as free tiers and promotions are not what a run costs. Google's rate is how much
# of the account's currency a dollar is (…/export-data-bigquery-tables/standard-usage).
_QUERY = """
SELECT label.value AS run, ROUND(SUM(cost / currency_conversion_rate), 6) AS usd
FROM `{table}`, UNNEST(labels) AS label
WHERE label.key = @label
  AND usage_start_time >= TIMESTAMP(@first) AND usage_start_time < TIMESTAMP(@after)
GROUP BY run
"""


def billed(first: date) -> dict[str, Decimal]:
    """Run -> USD before credits, for the use of the month that begins on `first` (UTC)."""
    after = (first + timedelta(days=32)).replace(day=1)
    values = {"label": RUN_TAG, "first": first.isoformat(), "after": after.isoformat()}
    wanted = {
        "query": _QUERY.format(table=_export()),
        "useLegacySql": False,
        "parameterMode": "NAMED",
        "queryParameters": [
            {"name": name, "parameterType": {"type": "STRING"}, "parameterValue": {"value": value}}
            for name, value in values.items()
        ],
        "maximumBytesBilled": str(MOST_BYTES),
        "timeoutMs": WAIT_MS,
    }
    return {run["v"]: Decimal(usd["v"]) for run, usd in _rows(Calls(), wanted)}


def _export() -> str:
    table = os.environ.get(EXPORT, "")
    if not table:
        raise InputError(
            "no billing export is named",
            where=EXPORT,
            hint="Google tells costs by label in BigQuery alone. Switch the export on (Billing, "
            f"Billing export, Standard usage cost), then: export {EXPORT}=PROJECT.DATASET.TABLE",
        )
    if _TABLE.fullmatch(table) is None:
        raise InputError(f"not a table: {table!r}", where=EXPORT, hint="PROJECT.DATASET.TABLE")
    return table


def _rows(calls: Calls, wanted: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    base = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_BIGQUERY") or BIGQUERY
    url = f"{base.rstrip('/')}/projects/{calls.project}/queries"
    page = calls.ask("POST", url, _WHERE, json=wanted)
    job, waited = page["jobReference"], 0
    at = {"location": job["location"]} if "location" in job else {}
    while True:
        if not page["jobComplete"]:
            waited += 1
            if waited > WAITS:
                raise Unclear("the query does not come to an end", where=_WHERE)
            more = {"timeoutMs": str(WAIT_MS)}
        else:
            yield from (row["f"] for row in page.get("rows", ()))
            if not page.get("pageToken"):
                return
            more = {"pageToken": page["pageToken"]}
        page = calls.ask("GET", f"{url}/{job['jobId']}", _WHERE, params=at | more)
