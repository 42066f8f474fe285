"""GCP: the billing catalogue's parts added up to machines, where Compute Engine offers them.

The catalogue needs an API key (`MLBROKER_GCP_API_KEY`) or an access token
(`CLOUDSDK_AUTH_ACCESS_TOKEN`, else Google's application-default credentials). With a token and
`GOOGLE_CLOUD_PROJECT`, Compute Engine says which machines each region really offers; without,
the book's own list stands.
"""

from collections.abc import Collection, Mapping

from mlbroker.broker.http import Http
from mlbroker.broker.prices.feeds.answers import expecting
from mlbroker.broker.prices.feeds.gcp import quotas
from mlbroker.broker.prices.feeds.gcp.machines import Machine, known_machines, machine_of
from mlbroker.broker.prices.feeds.gcp.rest import Google
from mlbroker.broker.prices.feeds.gcp.skus import read_skus
from mlbroker.broker.prices.feeds.interface import Batch, Cover, FeedError, Known, Plan, Scope, Task
from mlbroker.broker.prices.quotas import Quota
from mlbroker.broker.prices.records import PriceRecord


class GcpFeed:
    """Prices, machine types and quotas of GCP."""

    cloud = "gcp"

    def plan(self, scope: Scope, known: Known, http: Http) -> Plan:
        """One task: the catalogue is one list for all regions."""
        google = Google(http)
        notes = [] if google.project else [
            "no GOOGLE_CLOUD_PROJECT or no token: where machines are offered stays as the book"
            " has it"
        ]  # fmt: skip
        fetch = Task("price catalogue and machine types", lambda: _fetch(scope, known, google))
        return Plan([fetch], notes)

    def quotas(self, regions: Collection[str], http: Http) -> list[Quota]:
        """Compute Engine's quotas of a region: CPUs by family, and GPUs by model."""
        return quotas.fetch(regions, http)


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
    google: Google, book: Mapping[str, Machine]
) -> tuple[dict[str, Machine], dict[str, set[str]]]:
    """What Compute Engine offers now; attached GPUs where their region has them."""
    machines: dict[str, Machine] = {}
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
