"""Compute Engine's quotas of a region."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from mlbroker.broker.http import Http
from mlbroker.broker.prices.feeds.answers import expecting
from mlbroker.broker.prices.feeds.gcp.rest import Google
from mlbroker.broker.prices.feeds.interface import FeedError
from mlbroker.broker.prices.quotas import Quota

_GPU_METRICS = {
    "T4": "NVIDIA_T4_GPUS",
    "P4": "NVIDIA_P4_GPUS",
    "P100": "NVIDIA_P100_GPUS",
    "V100-16GB": "NVIDIA_V100_GPUS",
    "A100-40GB": "NVIDIA_A100_GPUS",
    "A100-80GB": "NVIDIA_A100_80GB_GPUS",
    "L4": "NVIDIA_L4_GPUS",
    "H100": "NVIDIA_H100_GPUS",
}


@expecting("not shaped as regions are", "gcp")
def fetch(regions: Collection[str], http: Http) -> list[Quota]:
    """CPUs of a family or of all the rest, and GPUs by model."""
    google = Google(http)
    if not google.project:
        raise FeedError(
            "quotas need GOOGLE_CLOUD_PROJECT and a login",
            where="gcp",
            hint="gcloud auth application-default login; export GOOGLE_CLOUD_PROJECT=…",
        )
    return [
        quota
        for region in google.regions()
        if region["name"] in regions
        for quota in _of_region(region["name"], region["quotas"])
    ]


def _of_region(region: str, rows: Iterable[Mapping[str, Any]]) -> list[Quota]:
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
    for model, metric in _GPU_METRICS.items():
        for spot, name in ((False, metric), (True, f"PREEMPTIBLE_{metric}")):
            if name in by_metric:
                limit, used = by_metric[name]
                found.append(Quota("gcp", region, spot, name, "gpu", limit, used, ("*",), model))
    return found
