"""Price list and quotas: answered from the prices that mlbroker ships, as recorded."""

import json
from typing import Any

from tests.support.aws.request import Request, refuse_json
from tests.support.aws.spot import prices
from tests.support.loopback_http import Answer
from tests.support.price_servers import AWS_QUOTAS, _get_products

_JSON = [("Content-Type", "application/x-amz-json-1.1")]


def answer(request: Request, quotas: dict[str, float], bill: dict[str, str]) -> Answer | None:
    """The recorded answer, or None when the request is for something else."""
    if request.action == "GetCostAndUsage":
        return _bill(request.json(), bill)
    if request.action == "GetProducts":
        return Answer("200 OK", _JSON, _get_products(prices(), request.json()))
    if request.action == "ListServiceQuotas":
        return Answer("200 OK", _JSON, json.dumps({"Quotas": AWS_QUOTAS}).encode())
    if request.action == "GetServiceQuota":
        return _quota(request.json()["QuotaCode"], quotas)
    return None


def _bill(wanted: dict[str, Any], bill: dict[str, str]) -> Answer:
    """By tag, one run a page, as Cost Explorer pages; machines without the tag come first."""
    (tag,) = wanted["GroupBy"]
    lines = [("", "12.50"), *sorted(bill.items())]
    at = int(wanted.get("NextPageToken", 0))
    run_id, usd = lines[at]
    group = {
        "Keys": [f"{tag['Key']}${run_id}"],
        "Metrics": {"UnblendedCost": {"Amount": usd, "Unit": "USD"}},
    }
    page: dict[str, Any] = {
        "ResultsByTime": [{"TimePeriod": wanted["TimePeriod"], "Groups": [group], "Total": {}}]
    }
    if at + 1 < len(lines):
        page["NextPageToken"] = str(at + 1)
    return Answer("200 OK", _JSON, json.dumps(page).encode())


def _quota(code: str, changed: dict[str, float]) -> Answer:
    known = {quota["QuotaCode"]: quota for quota in AWS_QUOTAS}
    if code not in known and code not in changed:
        return refuse_json("NoSuchResourceException", f"no quota {code}")
    value = changed.get(code, known.get(code, {}).get("Value"))
    quota = {**known.get(code, {"QuotaCode": code}), "Value": value}
    return Answer("200 OK", _JSON, json.dumps({"Quota": quota}).encode())
