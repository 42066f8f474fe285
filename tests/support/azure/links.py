"""Network interfaces and public addresses: made before their machine, gone with it."""

from typing import Any

from tests.support.azure.catalog import SUBSCRIPTION
from tests.support.azure.machines import Group, Machines
from tests.support.azure.schema import found, refuse, wrong_network
from tests.support.loopback_http import Answer, TokenRequest

from mlbroker.broker.clouds.azure.names import Names

_KINDS = {
    "Microsoft.Network/networkInterfaces": "NetworkInterface",
    "Microsoft.Network/publicIPAddresses": "PublicIPAddress",
}


def answer(
    machines: Machines, request: TokenRequest, group: Group, kind: str, name: str, body: Any
) -> Answer:
    """Make one, or show it."""
    path = request.path
    if request.method == "GET":
        there = machines.links.get(path.lower())
        return found(there) if there else refuse(404, "ResourceNotFound", f"{path} not found.")
    if group.state == "Deleting":
        return refuse(409, "ResourceGroupBeingDeleted", f"'{group.name}' is being deleted.")
    said = wrong_network(body, _KINDS[kind])
    if said:
        return refuse(400, "InvalidRequestFormat", said)
    if kind.endswith("networkInterfaces"):
        said = _wrong_interface(machines, group.location, body)
        if said:
            return refuse(400, "InvalidResourceReference", said)
    document = {**body, "id": path, "name": name}
    document["properties"] = {**body.get("properties", {}), "provisioningState": "Succeeded"}
    machines.links[path.lower()] = document
    return found(document, "201 Created")


def missing(machines: Machines, machine: dict[str, Any]) -> tuple[int, str, str] | None:
    """The interface that a machine refers to and that is not there."""
    for path in _paths(machine):
        if path.lower() not in machines.links:
            return 400, "InvalidResourceReference", f"Resource {path} was not found."
    return None


def taken_along(machines: Machines, machine: dict[str, Any]) -> None:
    """What goes when its machine goes, by the options that were set."""
    for one in _interfaces(machine):
        if one["properties"].get("deleteOption") != "Delete":
            continue
        link = machines.links.pop(one["id"].lower(), None)
        for address in (link or {}).get("properties", {}).get("ipConfigurations", []):
            public = address["properties"].get("publicIPAddress")
            if public and public["properties"].get("deleteOption") == "Delete":
                machines.links.pop(public["id"].lower(), None)


def forget(machines: Machines, group: str) -> None:
    """The whole group is gone."""
    mark = f"/resourcegroups/{group}/".lower()
    for path in [path for path in machines.links if mark in path]:
        del machines.links[path]


def _wrong_interface(machines: Machines, region: str, body: Any) -> str | None:
    names = Names(SUBSCRIPTION, region)
    about = body["properties"]
    firewall = (about.get("networkSecurityGroup") or {}).get("id")
    for address in about.get("ipConfigurations", []):
        if (firewall, address["properties"]["subnet"]["id"]) != (names.firewall, names.subnet):
            return "The subnet or the security group was not found."
        public = address["properties"].get("publicIPAddress")
        if public and public["id"].lower() not in machines.links:
            return f"Resource {public['id']} was not found."
    return None if about.get("ipConfigurations") else "An ipConfiguration is needed."


def _interfaces(machine: dict[str, Any]) -> list[dict[str, Any]]:
    return list(machine["properties"].get("networkProfile", {}).get("networkInterfaces") or [])


def _paths(machine: dict[str, Any]) -> list[str]:
    return [str(one["id"]) for one in _interfaces(machine)]
