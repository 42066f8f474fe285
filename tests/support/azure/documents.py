"""What Azure says about things: the resources as its answers shape them."""

import re
import uuid
from datetime import datetime
from typing import Any

from tests.support.azure.catalog import COPIES, IMAGES, REGIONS, SUBSCRIPTION, VERSIONS
from tests.support.azure.machines import Group, Operation, Vm, stamp
from tests.support.azure.schema import found, refuse
from tests.support.loopback_http import Answer

from mlbroker.broker.clouds.azure.names import ENDER, NAME, Names, seat_identity
from mlbroker.broker.clouds.seats import SEATS

_ROOT = f"/subscriptions/{SUBSCRIPTION}"
# The identities of the set-up, and by what each is given rights.
PRINCIPALS = {
    id_: str(uuid.uuid5(uuid.NAMESPACE_URL, id_))
    for region in REGIONS
    for name in (ENDER, *map(seat_identity, SEATS))
    for id_ in [Names(SUBSCRIPTION, region).identity(name)]
}


def machine_path(group: str, name: str) -> str:
    return f"{_ROOT}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachines/{name}"


def group(one: Group) -> dict[str, Any]:
    return {
        "id": f"{_ROOT}/resourceGroups/{one.name}",
        "name": one.name,
        "type": "Microsoft.Resources/resourceGroups",
        "location": one.location,
        "tags": one.tags,
        "properties": {"provisioningState": one.state},
    }


def image(words: list[str]) -> Answer:
    """`…/publishers/P/artifacttypes/vmimage/offers/O/skus/S/versions[/V]` of the Marketplace."""
    at = words.index("publishers")
    told = (words[at + 1], words[at + 5], words[at + 7])
    known = IMAGES.get(told)
    if known is None:
        return refuse(404, "NotFound", f"Artifact: VMImage was not found: {told}.")
    if len(words) == at + 9:
        return found([{"location": words[at - 1], "name": each} for each in VERSIONS[::-1]])
    if words[at + 9] not in VERSIONS:
        return refuse(404, "NotFound", f"Artifact: VMImage was not found: {words[at + 9]}.")
    plan = {"publisher": told[0], "product": told[1], "name": told[2]} if known.plan else None
    properties = {"hyperVGeneration": known.gen, "architecture": known.arch, "plan": plan}
    return found({"location": words[at - 1], "name": words[at + 9], "properties": properties})


_IN_REGION = re.compile(_ROOT + r"/providers/Microsoft.Compute/locations/\w+(/\w+Galleries/.+)")


def gallery_image(path: str) -> Answer:
    """The definition of an image in a gallery: the subscription's own, or others'."""
    others = _IN_REGION.fullmatch(path)
    wanted = (others[1] if others else path).lower()
    for name, plan in COPIES.items():
        if name.lower() == wanted and "galleries/" in wanted:
            told = {"osType": "Linux", "osState": "Generalized", "purchasePlan": plan or {}}
            return found({"name": name.rpartition("/")[2], "properties": told})
    return refuse(404, "ResourceNotFound", f"The Resource '{path}' was not found.")


def machine(vm: Vm, view_at: datetime | None) -> dict[str, Any]:
    properties = {
        **vm.body["properties"],
        "provisioningState": vm.state,
        "vmId": vm.id,
        "timeCreated": stamp(vm.created_at),
    }
    properties["osProfile"] = {
        key: value for key, value in properties["osProfile"].items() if key != "customData"
    }
    if view_at is not None:
        power = "stopped" if vm.stopped_at else "running" if vm.running_at else "starting"
        properties["instanceView"] = {"statuses": [{"code": f"PowerState/{power}"}]}
    return {
        **vm.body,
        "id": machine_path(vm.group, vm.name),
        "name": vm.name,
        "type": "Microsoft.Compute/virtualMachines",
        "etag": '"1"',
        "properties": properties,
    }


def operation(one: Operation) -> dict[str, Any]:
    if one.done_at is None:
        return {"name": one.id, "status": "InProgress"}
    if one.error is None:
        return {"name": one.id, "status": "Succeeded", "endTime": stamp(one.done_at)}
    code, message = one.error
    return {"name": one.id, "status": "Failed", "error": {"code": code, "message": message}}


def identity(group: str, name: str) -> Answer:
    path = f"{_ROOT}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity"
    id_ = f"{path}/userAssignedIdentities/{name}"
    if id_ not in PRINCIPALS:
        return refuse(404, "ResourceNotFound", f"The identity '{name}' was not found.")
    document = {
        "id": id_,
        "name": name,
        "properties": {"principalId": PRINCIPALS[id_], "clientId": PRINCIPALS[id_]},
    }
    return found(document)


def no_group(name: str) -> Answer:
    return refuse(404, "ResourceGroupNotFound", f"Resource group '{name}' could not be found.")


def no_machine(group: str, name: str) -> Answer:
    return refuse(
        404,
        "ResourceNotFound",
        f"The Resource 'Microsoft.Compute/virtualMachines/{name}' under resource group '{group}' "
        "was not found.",
    )


class Networks:
    """The network of each region as its owner set it up: one subnet, closed."""

    def __init__(self) -> None:
        self.rules: list[dict[str, Any]] = []
        self.has_gateway = False
        self.missing: set[str] = set()

    def open_to_all(self) -> None:
        """A rule that lets the whole internet in."""
        self.rules.append(
            {
                "name": "somebody-opened-it",
                "properties": {
                    "direction": "Inbound",
                    "access": "Allow",
                    "protocol": "Tcp",
                    "priority": 100,
                    "sourceAddressPrefix": "*",
                    "sourcePortRange": "*",
                    "destinationAddressPrefix": "*",
                    "destinationPortRange": "22",
                },
            }
        )

    def answer(self, region: str, rest: str) -> Answer:
        names = Names(SUBSCRIPTION, region)
        subnet = f"Microsoft.Network/virtualNetworks/{NAME}/subnets/{NAME}"
        if region not in self.missing and rest == subnet:
            properties: dict[str, Any] = {"addressPrefix": "10.0.0.0/20"}
            if self.has_gateway:
                properties["natGateway"] = {"id": f"{names.attempt(names.group)}/nat"}
            return found({"id": names.subnet, "name": NAME, "properties": properties})
        if region not in self.missing and rest == f"Microsoft.Network/networkSecurityGroups/{NAME}":
            return found(
                {"id": names.firewall, "name": NAME, "properties": {"securityRules": self.rules}}
            )
        return refuse(404, "ResourceNotFound", f"The Resource '{rest}' was not found.")
