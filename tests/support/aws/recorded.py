"""Price list, spot prices and quotas: answered from the prices that mlbroker ships, as recorded."""

import json
import tempfile
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs

from tests.support.aws.request import Answer, Request, refuse_json
from tests.support.price_servers import AWS_QUOTAS, Prices, _get_products, _spot_history

from mlbroker.broker.prices import browse
from mlbroker.broker.prices.store import open_book

_JSON = [("Content-Type", "application/x-amz-json-1.1")]


def answer(request: Request, quotas: dict[str, float]) -> Answer | None:
    """The recorded answer, or None when the request is for something else."""
    if request.action == "GetProducts":
        return Answer("200 OK", _JSON, _get_products(_prices(), request.json()))
    if request.action == "ListServiceQuotas":
        return Answer("200 OK", _JSON, json.dumps({"Quotas": AWS_QUOTAS}).encode())
    if request.action == "GetServiceQuota":
        return _quota(request.json()["QuotaCode"], quotas)
    if request.action == "DescribeSpotPriceHistory":
        form = parse_qs(request.body.decode())
        body = _spot_history(_prices(), request.region, form)
        return Answer("200 OK", [("Content-Type", "text/xml")], body)
    return None


def _quota(code: str, changed: dict[str, float]) -> Answer:
    known = {quota["QuotaCode"]: quota for quota in AWS_QUOTAS}
    if code not in known and code not in changed:
        return refuse_json("NoSuchResourceException", f"no quota {code}")
    value = changed.get(code, known.get(code, {}).get("Value"))
    quota = {**known.get(code, {"QuotaCode": code}), "Value": value}
    return Answer("200 OK", _JSON, json.dumps({"Quota": quota}).encode())


@cache
def _prices() -> Prices:
    with tempfile.TemporaryDirectory() as home:
        book = open_book(Path(home))
        prices = Prices((row for row in browse.prices(book) if row.cloud == "aws"), {})
        book.close()
    return prices
