"""GCP: the billing catalogue's parts added up to machines, where Compute Engine offers them.

The catalogue needs an API key (`MLBROKER_GCP_API_KEY`) or an access token
(`CLOUDSDK_AUTH_ACCESS_TOKEN`, else Google's application-default credentials). With a token and
`GOOGLE_CLOUD_PROJECT`, Compute Engine says which machines each region really offers; without,
the book's own list stands.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from mlbroker.broker.http import Http
from mlbroker.broker.prices.feeds.answers import expecting
from mlbroker.broker.prices.feeds.gcp.machines import CatalogueMachine, known_machines, machine_of
from mlbroker.broker.prices.feeds.gcp.rest import Google
from mlbroker.broker.prices.feeds.gcp.skus import read_skus
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
from mlbroker.broker.prices.records import PriceRecord

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


class GcpFeed:
    """Prices, machine types and quotas of GCP."""

    cloud = "gcp"

    def plan(self, scope: Scope, known: Known, http: Http) -> FetchPlan:
        """One task: the catalogue is one list for all regions."""
        google = Google(http)
        notes = [] if google.project else [
            "no GOOGLE_CLOUD_PROJECT or no token: where machines are offered stays as the book"
            " has it"
        ]  # fmt: skip
        fetch = Task("price catalogue and machine types", lambda: _fetch(scope, known, google))
        return FetchPlan([fetch], notes)

    @expecting("not shaped as regions are", "gcp")
    def quotas(self, regions: Collection[str], http: Http) -> list[Quota]:
        """Compute Engine's quotas of a region: CPUs by family or all the rest, GPUs by model."""
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
            for quota in _quotas_of(region["name"], region["quotas"])
        ]


@expecting("not shaped as GCP's answers are", "gcp")
def _fetch(scope: Scope, known: Known, google: Google) -> Batch:
    prices = read_skus(google.skus())
    machines = known_machines(known.types.values())
    offered: dict[str, set[str]] = {region: set(names) for region, names in known.offered.items()}
    if google.project:
        machines, offered = _live(google, machines)
    rows, covers = [], []
    for region in sorted(offered):
        if scope.regions and region not in scope.regions:
            continue
        gone = (known.offered.get(region, frozenset()) - offered[region]) if google.project else ()
        for spot in (False, True):
            judged = {name for name in gone if scope.admits(name)}
            for name in offered[region]:
                machine = machines.get(name)
                if machine is None or not scope.admits(name):
                    continue
                price = machine.price(prices, (region, spot))
                if price:
                    source = "gcp-billing-catalog"
                    rows.append(PriceRecord("gcp", region, name, spot, price, known.day, source))
                    judged.add(name)
            covers.append(Cover(region, spot, frozenset(judged)))
    if not rows:
        raise FeedError("no machine can be priced from its catalogue", where="gcp")
    sold = {row.instance_type for row in rows}
    types = [machines[name].record(known.day) for name in sorted(sold - known.types.keys())]
    return Batch(rows, types, covers, dishonest=prices.dishonest)


def _live(
    google: Google, book: Mapping[str, CatalogueMachine]
) -> tuple[dict[str, CatalogueMachine], dict[str, set[str]]]:
    """What Compute Engine offers now; attached GPUs where their region has them."""
    machines: dict[str, CatalogueMachine] = {}
    offered: dict[str, set[str]] = {}
    for region, entry in google.zonal("machineTypes"):
        if (entry.get("deprecated") or {}).get("state") not in ("OBSOLETE", "DELETED"):
            offered.setdefault(region, set()).add(entry["name"])
            machines.setdefault(entry["name"], machine_of(entry))
    accelerators = {(region, entry["name"]) for region, entry in google.zonal("acceleratorTypes")}
    # Which numbers of GPUs go with which machines is a rule the book knows and no API tells.
    for name, machine in book.items():
        base_name, plus, _ = name.partition("+")
        if plus and base_name in machines:
            machines[name] = machine
            for region, names in offered.items():
                if base_name in names and (region, machine.accelerator) in accelerators:
                    names.add(name)
    return machines, offered


def _quotas_of(region: str, rows: Iterable[Mapping[str, Any]]) -> list[Quota]:
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
