"""Where in a region a machine is put: a subnet that lets nobody in, with or without an address."""

from typing import Any, NamedTuple

from mlbroker.broker.clouds.gcp.calls import Calls, storage_url, translated
from mlbroker.broker.clouds.gcp.names import Names
from mlbroker.broker.clouds.gcp.shape import split_type
from mlbroker.broker.clouds.interface import Denied

ANYBODY = ("0.0.0.0/0", "::/0")


class Spot(NamedTuple):
    """A place in the network. Without another way out the machine needs an address."""

    subnet: str
    needs_address: bool


def spot_in(calls: Calls, names: Names) -> Spot:
    """The region's subnet, once its network was seen to be closed."""
    where = f"gcp {names.region}"
    with translated(where):
        from google.api_core.exceptions import NotFound

        try:
            subnet = calls.client("Subnetworks").get(
                project=names.project,
                region=names.region,
                subnetwork=names.network,
                **calls.reading,
            )
        except NotFound:
            raise Denied(
                f"there is no subnet {names.network} in {names.region}",
                where=where,
                hint=how_to_set_up(names.region),
            ) from None
        rules = list(calls.client("Firewalls").list(project=names.project, **calls.reading))
        routers = list(
            calls.client("Routers").list(
                project=names.project, region=names.region, **calls.reading
            )
        )
    for rule in rules:
        if _same(rule.network, subnet.network) and _lets_in(rule):
            raise Denied(
                f"firewall rule {rule.name} lets others into network {names.network}",
                where=where,
                hint="Machines of mlbroker need no open port: remove the rule.",
            )
    way_out = any(_same(router.network, subnet.network) and router.nats for router in routers)
    return Spot(names.subnet, not (way_out and subnet.private_ip_google_access))


def regions_set_up(calls: Calls) -> frozenset[str]:
    """Told by the buckets: one call for all regions, as a rule."""
    prefix = Names(calls.project, "").bucket
    wanted = {"project": calls.project, "prefix": prefix}
    found: set[str] = set()
    while True:
        page = calls.ask("GET", f"{storage_url()}/storage/v1/b", "gcp", params=wanted)
        found.update(str(one["name"]).removeprefix(prefix) for one in page.get("items", []))
        if "nextPageToken" not in page:
            return frozenset(found)
        wanted["pageToken"] = str(page["nextPageToken"])


def zones_offering(calls: Calls, name: str) -> tuple[str, ...]:
    """The zones of the world with this machine type, and with what is attached to it."""
    machine_type, attached, _ = split_type(name)
    zones = _zones(calls, "MachineTypes", "machine_types", machine_type)
    if attached is not None:
        zones &= _zones(calls, "AcceleratorTypes", "accelerator_types", attached)
    return tuple(sorted(zones))


def how_to_set_up(region: str) -> str:
    """In words."""
    return f"`mlbroker init --cloud gcp --region {region}` writes what the project needs once."


def _zones(calls: Calls, kind: str, field: str, name: str) -> set[str]:
    request = {"project": calls.project, "filter": f'name = "{name}"'}
    with translated("gcp"):
        pages = calls.client(kind).aggregated_list(request=request, **calls.reading)
        return {scope.rpartition("/")[2] for scope, found in pages if getattr(found, field)}


def _lets_in(rule: Any) -> bool:
    inward = rule.direction in ("", "INGRESS") and rule.allowed and not rule.disabled
    return bool(inward) and any(source in ANYBODY for source in rule.source_ranges)


def _same(one: str, other: str) -> bool:
    return one.rpartition("/projects/")[2] == other.rpartition("/projects/")[2]
