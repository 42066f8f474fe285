"""Azure: the public Retail Prices API, and Resource SKUs for hardware where there is a login."""

import os
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any

from mlbroker.broker.prices.feeds.azure_skus import type_rows
from mlbroker.broker.prices.feeds.interface import Batch, Cover, Known, Plan, Scope, Task
from mlbroker.broker.prices.feeds.pages import follow
from mlbroker.broker.prices.http import FeedError, Http
from mlbroker.broker.prices.nano import to_nano
from mlbroker.broker.prices.rows import PriceRow

RETAIL_URL = "https://prices.azure.com"
MANAGEMENT_URL = "https://management.azure.com"


class AzureFeed:
    """Prices and machine sizes of Azure."""

    cloud = "azure"

    def plan(self, scope: Scope, known: Known, http: Http) -> Plan:
        """One task a region; hardware of sizes the book does not know needs a login."""
        regions = sorted(scope.regions or known.offered)
        tasks = [Task(region, _task(region, scope, known, http)) for region in regions]
        subscription = os.environ.get("AZURE_SUBSCRIPTION_ID")
        if not subscription:
            return Plan(
                tasks,
                ["no AZURE_SUBSCRIPTION_ID: the hardware of new sizes stays unknown"],
            )
        headers = {"Authorization": f"Bearer {access_token()}"}
        tasks.append(Task("sizes", lambda: _sizes(subscription, scope, known, http, headers)))
        return Plan(tasks)


def _task(region: str, scope: Scope, known: Known, http: Http) -> Any:
    def fetch() -> Batch:
        try:
            return _region(region, scope, known, http)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FeedError(
                f"{region}: not shaped as retail prices are: {error!r}", where="azure"
            ) from None

    return fetch


def _region(region: str, scope: Scope, known: Known, http: Http) -> Batch:
    base = os.environ.get("MLBROKER_AZURE_PRICES_URL", RETAIL_URL).rstrip("/")
    condition = (
        "serviceName eq 'Virtual Machines' and priceType eq 'Consumption'"
        f" and armRegionName eq '{_quoted(region)}'"
    )
    if len(scope.instance_types) == 1:
        condition += f" and armSkuName eq '{_quoted(next(iter(scope.instance_types)))}'"
    query = urllib.parse.urlencode({"currencyCode": "USD", "$filter": condition})
    first = f"{base}/api/retail/prices?{query}"
    cheapest: dict[tuple[str, bool], int] = {}
    dishonest = 0
    for page in follow(first, http.json, lambda page: _next(page, base), "azure"):
        for item in page["Items"]:
            sold = plain_size(item)
            if sold is None or item["armRegionName"] != region or not scope.admits(sold[0]):
                continue
            price = to_nano(item["retailPrice"])
            if price is None:
                dishonest += 1
            else:
                # One size can have several meters (old and new, or one with a promotion).
                cheapest[sold] = min(price, cheapest.get(sold, price))
    rows = [
        PriceRow("azure", region, name, spot, price, known.day, "azure-retail-prices")
        for (name, spot), price in cheapest.items()
    ]
    types = scope.instance_types or None
    covers = (Cover(region, False, types), Cover(region, True, types))
    return Batch(rows, covers=covers, dishonest=dishonest)


def plain_size(item: Mapping[str, Any]) -> tuple[str, bool] | None:
    """The size and whether it is spot, for a plain Linux machine; None for all else.

    The list mixes in Windows, DevTest and reservation prices, the older "Low Priority" market,
    Cloud Services and dedicated hosts, all under the same sizes.
    """
    name, product, sku = item["armSkuName"], item["productName"], item["skuName"]
    if (
        not name
        or item["type"] != "Consumption"
        or item["serviceName"] != "Virtual Machines"
        or item["unitOfMeasure"] != "1 Hour"
        or item.get("currencyCode") != "USD"
        or item.get("tierMinimumUnits")
        or "Windows" in product
        or "Cloud Services" in product
        or "CloudServices" in product
        or "Dedicated Host" in product
        or "Low Priority" in sku
        or "Low Priority" in item["meterName"]
    ):
        return None
    spot = sku.endswith(" Spot") or item["meterName"].endswith(" Spot")
    # The list writes some names in lower case; the size itself begins with a capital.
    if name.startswith("standard_"):
        name = f"S{name[1:]}"
    return name, spot


def _next(page: Mapping[str, Any], base: str) -> str | None:
    link = page.get("NextPageLink")
    if not link:
        return None
    here, there = urllib.parse.urlsplit(base), urllib.parse.urlsplit(str(link))
    if there.hostname != here.hostname:
        raise FeedError(f"its next page is on another host, {there.hostname}", where="azure")
    # The service names its own port 443 in the link; ours is the one we were sent to.
    return urllib.parse.urlunsplit((here.scheme, here.netloc, there.path, there.query, ""))


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _sizes(
    subscription: str, scope: Scope, known: Known, http: Http, headers: Mapping[str, str]
) -> Batch:
    base = os.environ.get("MLBROKER_AZURE_MANAGEMENT_URL", MANAGEMENT_URL).rstrip("/")
    path = f"/subscriptions/{urllib.parse.quote(subscription, safe='')}/providers"
    first = f"{base}{path}/Microsoft.Compute/skus?api-version=2021-07-01"
    try:
        skus: list[Mapping[str, Any]] = []
        for page in follow(
            first, lambda url: http.json(url, headers), lambda p: p.get("nextLink"), "azure"
        ):
            skus += page["value"]
        rows = type_rows(skus, known.day)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FeedError(f"not shaped as Resource SKUs are: {error!r}", where="azure") from None
    return Batch(types=_new(rows, scope, known))


def _new(rows: Iterable[Any], scope: Scope, known: Known) -> list[Any]:
    return [row for row in rows if row.name not in known.types and scope.admits(row.name)]


def access_token() -> str:
    """A token for Azure's management API: `AZURE_ACCESS_TOKEN`, else the user's own login."""
    given = os.environ.get("AZURE_ACCESS_TOKEN")
    if given:
        return given
    try:
        from azure.core.exceptions import AzureError
        from azure.identity import DefaultAzureCredential
    except ImportError:
        raise FeedError(
            "Azure's library is not installed", where="azure", hint="pip install mlbroker[azure]"
        ) from None
    try:
        token = DefaultAzureCredential().get_token("https://management.azure.com/.default")
    except AzureError as error:
        raise FeedError(
            f"the credentials are refused or expired: {str(error).splitlines()[0]}",
            where="azure",
            hint="Sign in again: az login.",
        ) from None
    return str(token.token)
