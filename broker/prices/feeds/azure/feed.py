"""Azure: the public Retail Prices API, and Resource SKUs for hardware where there is a login."""

import os
import urllib.parse
from collections.abc import Collection, Iterable, Mapping
from datetime import date
from typing import Any

from mlbroker.broker.http import Http
from mlbroker.broker.prices.feeds.answers import by_region, expecting, follow
from mlbroker.broker.prices.feeds.azure.management import Management
from mlbroker.broker.prices.feeds.interface import (
    Batch,
    Cover,
    FeedError,
    FetchPlan,
    Known,
    Scope,
    Task,
)
from mlbroker.broker.prices.quotas import Quota
from mlbroker.broker.prices.records import PriceRecord, TypeRecord
from mlbroker.pricing.price_units import nano_from_usd

RETAIL_URL = "https://prices.azure.com"


class AzureFeed:
    """Prices, machine sizes and quotas of Azure."""

    cloud = "azure"

    def plan(self, scope: Scope, known: Known, http: Http) -> FetchPlan:
        """One task a region; hardware of sizes the book does not know needs a login."""

        def prices(region: str) -> Task:
            wanted = expecting(f"{region}: not shaped as retail prices are", "azure")
            return Task(region, lambda: wanted(_region)(region, scope, known, http))

        tasks = [prices(region) for region in sorted(scope.regions or known.offered)]
        management = Management.connect(http)
        if management is None:
            return FetchPlan(
                tasks,
                ["no AZURE_SUBSCRIPTION_ID: the hardware of new sizes stays unknown"],
            )
        tasks.append(Task("sizes", lambda: _sizes(management, scope, known)))
        return FetchPlan(tasks)

    @expecting("not shaped as usages are", "azure")
    def quotas(self, regions: Collection[str], http: Http) -> list[Quota]:
        """Compute's usages: cores of each family, of the region, and of spot."""
        management = Management.connect(http)
        if management is None:
            raise FeedError("quotas need AZURE_SUBSCRIPTION_ID and a login", where="azure")
        members: dict[str, set[str]] = {}
        for sku in management.skus():
            if sku.get("resourceType") == "virtualMachines" and sku.get("family"):
                members.setdefault(sku["family"].lower(), set()).add(sku["name"])

        def of(region: str) -> list[Quota]:
            usages = management.usages(region)
            return [quota for usage in usages for quota in _quotas_of(usage, region, members)]

        return by_region(of, regions)


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
    meters: dict[tuple[str, bool], tuple[bool, int, int]] = {}
    dishonest = 0
    for page in follow(first, http.json, lambda page: _next(page, base), "azure"):
        for item in page["Items"]:
            sold = plain_size(item)
            if sold is None or item["armRegionName"] != region or not scope.admits(sold[0]):
                continue
            begins, ends = _day(item, "effectiveStartDate"), _day(item, "effectiveEndDate")
            if (begins or 0) > known.day or (ends or known.day + 1) <= known.day:
                continue
            price = nano_from_usd(item["retailPrice"])
            if price is None:
                dishonest += 1
            else:
                # Several meters can be in force at once: the primary one bills, of two the newer
                # (learn.microsoft.com/rest/api/cost-management/retail-prices), and of two the
                # dearer.
                meter = (item.get("isPrimaryMeterRegion") is not False, begins or 0, price)
                meters[sold] = max(meter, meters.get(sold, meter))
    rows = [
        PriceRecord("azure", region, name, spot, price, known.day, "azure-retail-prices")
        for (name, spot), (_, _, price) in meters.items()
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


def _day(item: Mapping[str, Any], name: str) -> int | None:
    """The day of `2024-07-01T00:00:00Z`, as a number; None where it is not told."""
    told = item.get(name)
    return date.fromisoformat(told[:10]).toordinal() if told else None


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


@expecting("not shaped as Resource SKUs are", "azure")
def _sizes(management: Management, scope: Scope, known: Known) -> Batch:
    rows = type_records(management.skus(), known.day)
    new = [row for row in rows if row.name not in known.types and scope.admits(row.name)]
    return Batch(types=new)


def type_records(skus: Iterable[Mapping[str, Any]], day: int) -> list[TypeRecord]:
    """Every machine size once; the list has it for each region.

    A size that the subscription may not use in any region is left out.
    """
    rows: dict[str, TypeRecord] = {}
    for sku in skus:
        if sku.get("resourceType") != "virtualMachines" or sku["name"] in rows:
            continue
        if any(limit.get("type") == "Location" for limit in sku.get("restrictions") or ()):
            continue
        rows[sku["name"]] = _row(sku, day)
    return list(rows.values())


def _row(sku: Mapping[str, Any], day: int) -> TypeRecord:
    facts = {entry["name"]: entry["value"] for entry in sku.get("capabilities") or ()}
    # Constrained sizes state their parent's vCPUs and, beside it, those they really have.
    vcpus = float(facts.get("vCPUsAvailable") or facts["vCPUs"])
    gpus = float(facts.get("GPUs", 0))
    disk = facts.get("NvmeDiskSizeInMiB") or facts.get("MaxResourceVolumeMB") or 0
    hardware = (
        vcpus,
        float(facts["MemoryGB"]),
        "arm64" if facts.get("CpuArchitectureType") == "Arm64" else "x86_64",
        None,
        # Which GPU it is, Azure does not say: the machine is known to have some, no more.
        ("unknown", 0.0) if gpus else None,
        gpus,
        sku["name"].startswith("Standard_B"),
        False,
        round(float(disk) / 1024, 1),
        None,
    )
    return TypeRecord("azure", sku["name"], hardware, day, "azure-resource-skus")


def _quotas_of(
    usage: Mapping[str, Any], region: str, members: Mapping[str, set[str]]
) -> list[Quota]:
    key = usage["name"]["value"]
    name = usage["name"].get("localizedValue") or key
    limit, used = float(usage["limit"]), float(usage["currentValue"])
    spot = key == "lowPriorityCores"
    sizes = ("*",) if spot or key == "cores" else tuple(sorted(members.get(key.lower(), ())))
    return [Quota("azure", region, spot, name, "vcpu", limit, used, sizes)] if sizes else []
