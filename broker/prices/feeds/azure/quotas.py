"""What Azure's Compute lets a subscription use."""

from collections.abc import Collection, Mapping
from typing import Any

from mlbroker.broker.http import Http
from mlbroker.broker.prices.feeds.answers import by_region, expecting
from mlbroker.broker.prices.feeds.azure.management import Management
from mlbroker.broker.prices.feeds.interface import FeedError
from mlbroker.broker.prices.quotas import Quota


@expecting("not shaped as usages are", "azure")
def fetch(regions: Collection[str], http: Http) -> list[Quota]:
    """Cores of each family, of the region, and of spot."""
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


def _quotas_of(
    usage: Mapping[str, Any], region: str, members: Mapping[str, set[str]]
) -> list[Quota]:
    key = usage["name"]["value"]
    name = usage["name"].get("localizedValue") or key
    limit, used = float(usage["limit"]), float(usage["currentValue"])
    if key == "lowPriorityCores":
        return [Quota("azure", region, True, name, "vcpu", limit, used, ("*",))]
    if key == "cores":
        return [Quota("azure", region, False, name, "vcpu", limit, used, ("*",))]
    sizes = tuple(sorted(members.get(key.lower(), ())))
    return [Quota("azure", region, False, name, "vcpu", limit, used, sizes)] if sizes else []
