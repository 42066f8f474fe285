"""Asking each cloud, with the user's credentials, what the account may have."""

import os
import urllib.parse
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlbroker.broker.prices.feeds.azure import MANAGEMENT_URL, access_token
from mlbroker.broker.prices.feeds.gcp import COMPUTE_URL, pages
from mlbroker.broker.prices.feeds.gcp import credentials as gcp_credentials
from mlbroker.broker.prices.feeds.pages import follow
from mlbroker.broker.prices.http import FeedError, Http
from mlbroker.broker.prices.quotas import Quota

# AWS counts vCPUs by groups of families, on-demand and spot apart.
_AWS_STANDARD = ("a", "c", "d", "h", "i", "im", "is", "m", "r", "t", "z")
_AWS_CODES: Mapping[str, tuple[bool, tuple[str, ...]]] = {
    "L-1216C47A": (False, _AWS_STANDARD),
    "L-417A185B": (False, ("p",)),
    "L-DB2E81BA": (False, ("g", "gr", "vt")),
    "L-7295265B": (False, ("x",)),
    "L-1945791B": (False, ("inf",)),
    "L-2C3B7624": (False, ("trn",)),
    "L-6E869C2A": (False, ("dl",)),
    "L-74FC7D96": (False, ("f",)),
    "L-F7808C92": (False, ("hpc",)),
    "L-43DA4232": (False, ("u",)),
    "L-34B43A08": (True, _AWS_STANDARD),
    "L-7212CCBC": (True, ("p",)),
    "L-3819A6DF": (True, ("g", "gr", "vt")),
    "L-E3A00192": (True, ("x",)),
    "L-B5D1601B": (True, ("inf",)),
    "L-6B0D517C": (True, ("trn",)),
    "L-85EED4F7": (True, ("dl",)),
    "L-88CF9481": (True, ("f",)),
}
_GCP_GPUS = {
    "T4": "NVIDIA_T4_GPUS",
    "P4": "NVIDIA_P4_GPUS",
    "P100": "NVIDIA_P100_GPUS",
    "V100-16GB": "NVIDIA_V100_GPUS",
    "A100-40GB": "NVIDIA_A100_GPUS",
    "A100-80GB": "NVIDIA_A100_80GB_GPUS",
    "L4": "NVIDIA_L4_GPUS",
    "H100": "NVIDIA_H100_GPUS",
}
_WORKERS = 8


def aws(regions: Collection[str], http: Http) -> list[Quota]:
    """EC2's vCPU quotas; what is in use AWS does not say with them."""
    from mlbroker.broker.prices.feeds.aws import Clients

    clients = Clients.connect()
    if clients is None:
        raise FeedError(
            "no AWS credentials", where="aws", hint="Sign in, for example: aws sso login."
        )
    live = clients.regions()

    def fetch(region: str) -> list[Quota]:
        found = []
        for entry in clients.quotas(region):
            spot, families = _AWS_CODES.get(entry["QuotaCode"], (False, ()))
            if families:
                name, limit = entry["QuotaName"], float(entry["Value"])
                found.append(Quota("aws", region, spot, name, "vcpu", limit, None, families))
        return found

    return _by_region(fetch, sorted(set(regions) & live))


def gcp(regions: Collection[str], http: Http) -> list[Quota]:
    """Compute Engine's region quotas: CPUs of a family or of all the rest, and GPUs by model."""
    project = os.environ.get("GOOGLE_CLOUD_PROJECT")
    headers = gcp_credentials()
    if not project or "Authorization" not in headers:
        raise FeedError(
            "quotas need GOOGLE_CLOUD_PROJECT and a login",
            where="gcp",
            hint="gcloud auth application-default login; export GOOGLE_CLOUD_PROJECT=…",
        )
    base = os.environ.get("MLBROKER_GCP_COMPUTE_URL", COMPUTE_URL).rstrip("/")
    first = (
        f"{base}/compute/v1/projects/{urllib.parse.quote(project, safe='')}/regions?maxResults=500"
    )
    found: list[Quota] = []
    try:
        for page in pages(first, http, headers):
            for region in page.get("items", ()):
                if region["name"] in regions:
                    found += _gcp_region(region["name"], region["quotas"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FeedError(f"not shaped as regions are: {error!r}", where="gcp") from None
    return found


def _gcp_region(region: str, rows: Iterable[Mapping[str, Any]]) -> list[Quota]:
    by_metric = {row["metric"]: (float(row["limit"]), float(row.get("usage", 0))) for row in rows}
    found = []
    for metric, (limit, used) in by_metric.items():
        family = metric.removesuffix("_CPUS").lower()
        if metric == "CPUS":
            found.append(Quota("gcp", region, False, metric, "vcpu", limit, used))
            # Without a preemptible quota of its own, spot counts against the ordinary one.
            if not by_metric.get("PREEMPTIBLE_CPUS", (0, 0))[0]:
                found.append(Quota("gcp", region, True, metric, "vcpu", limit, used))
        elif metric == "PREEMPTIBLE_CPUS" and limit:
            found.append(Quota("gcp", region, True, metric, "vcpu", limit, used, ("*",)))
        elif metric.endswith("_CPUS") and family.isalnum():
            found.append(Quota("gcp", region, False, metric, "vcpu", limit, used, (family,)))
    for model, metric in _GCP_GPUS.items():
        for spot, name in ((False, metric), (True, f"PREEMPTIBLE_{metric}")):
            if name in by_metric:
                limit, used = by_metric[name]
                found.append(Quota("gcp", region, spot, name, "gpu", limit, used, ("*",), model))
    return found


def azure(regions: Collection[str], http: Http) -> list[Quota]:
    """Compute's usages: cores of each family, of the region, and of spot."""
    subscription = os.environ.get("AZURE_SUBSCRIPTION_ID")
    if not subscription:
        raise FeedError("quotas need AZURE_SUBSCRIPTION_ID and a login", where="azure")
    headers = {"Authorization": f"Bearer {access_token()}"}
    base = os.environ.get("MLBROKER_AZURE_MANAGEMENT_URL", MANAGEMENT_URL).rstrip("/")
    root = (
        f"{base}/subscriptions/{urllib.parse.quote(subscription, safe='')}"
        "/providers/Microsoft.Compute"
    )

    def read(first: str) -> list[Mapping[str, Any]]:
        return [
            entry
            for page in follow(
                first, lambda url: http.json(url, headers), lambda p: p.get("nextLink"), "azure"
            )
            for entry in page["value"]
        ]

    try:
        members: dict[str, set[str]] = {}
        for sku in read(f"{root}/skus?api-version=2021-07-01"):
            if sku.get("resourceType") == "virtualMachines" and sku.get("family"):
                members.setdefault(sku["family"].lower(), set()).add(sku["name"])

        def fetch(region: str) -> list[Quota]:
            usages = read(f"{root}/locations/{region}/usages?api-version=2023-03-01")
            return [quota for usage in usages for quota in _azure_usage(region, usage, members)]

        return _by_region(fetch, sorted(regions))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FeedError(f"not shaped as usages are: {error!r}", where="azure") from None


def _azure_usage(
    region: str, usage: Mapping[str, Any], members: Mapping[str, set[str]]
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


def _by_region(fetch: Callable[[str], list[Quota]], regions: Collection[str]) -> list[Quota]:
    with ThreadPoolExecutor(_WORKERS) as pool:
        return [quota for found in pool.map(fetch, regions) for quota in found]


QUOTA_FEEDS: Mapping[str, Callable[[Collection[str], Http], list[Quota]]] = {
    "aws": aws,
    "azure": azure,
    "gcp": gcp,
}
