"""BigQuery with one table in it: the billing export of the account, asked by label and month."""

import json
import re
from typing import Any

from tests.support.gcp.catalog import PROJECT
from tests.support.gcp.discovery import Method, found, refuse
from tests.support.loopback_http import Answer, TokenRequest

EXPORT = f"{PROJECT}.billing.gcp_billing_export_v1_010101_F0F0F0_10101A"
# What the query asks of, in the export's own schema
# (docs.cloud.google.com/billing/docs/how-to/export-data-bigquery-tables/standard-usage).
_COLUMNS = frozenset({"cost", "currency_conversion_rate", "labels", "usage_start_time"})
_WORDS = re.compile(
    "SELECT|FROM|WHERE|AND|GROUP|BY|AS|ROUND|SUM|UNNEST|TIMESTAMP|label|value|key|run|usd"
)


class Bills:
    """`usd` is what each run is billed; the first look at a query finds it still running."""

    def __init__(self, usd: dict[str, str]) -> None:
        self._usd = usd

    def answer(self, request: TokenRequest, method: Method, page: int) -> Answer:
        if method.path["projectsId"] != PROJECT:
            return refuse(403, "accessDenied", "Access Denied: Project: bigquery.jobs.create")
        if method.id == "bigquery.jobs.query":
            wrong = _wrong(json.loads(request.body))
            return refuse(*wrong) if wrong else found(self._page(None, page))
        return found(self._page(request.query.get("pageToken", "0"), page))

    def _page(self, at: str | None, most: int) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "jobReference": {"projectId": PROJECT, "jobId": "job_1", "location": "EU"},
            "jobComplete": at is not None,
        }
        if at is not None:
            start = int(at)
            rows = [{"f": [{"v": run}, {"v": usd}]} for run, usd in sorted(self._usd.items())]
            answer |= {"totalRows": str(len(rows)), "rows": rows[start : start + most]}
            if start + most < len(rows):
                answer["pageToken"] = str(start + most)
        return answer


def _wrong(wanted: dict[str, Any]) -> tuple[int, str, str] | None:
    """Why BigQuery would not answer this, or not with a month of one label."""
    query = wanted["query"]
    tables = re.findall(r"`([^`]+)`", query)
    if tables != [EXPORT]:
        return 404, "notFound", f"Not found: Table {tables}"
    given = {p["name"]: p["parameterValue"]["value"] for p in wanted["queryParameters"]}
    asked = set(re.findall(r"@(\w+)", query))
    if asked != set(given) or given["label"] != "mlbroker-run":
        return 400, "invalidQuery", f"Query parameters {asked} are not those given: {given}"
    bare = re.sub(r"`[^`]+`|@\w+", "", query)
    names = set(re.findall(r"[A-Za-z_]\w*", bare)) - _COLUMNS
    unknown = [name for name in names if not _WORDS.fullmatch(name)]
    if wanted["useLegacySql"] or unknown:
        return 400, "invalidQuery", f"Unrecognized name: {sorted(unknown)}"
    return None
