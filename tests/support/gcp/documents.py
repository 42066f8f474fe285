"""What Compute Engine says about things: the resources as its answers shape them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.support.gcp.catalog import PROJECT, REGIONS, Image, Kind
from tests.support.gcp.machines import Operation, Vm, stamp

LINK = f"https://www.googleapis.com/compute/v1/projects/{PROJECT}"


def region_link(zone: str) -> str:
    return f"{LINK}/regions/{zone.rpartition('-')[0]}"


def instance(vm: Vm, now: datetime) -> dict[str, Any]:
    shown = {k: v for k, v in vm.body.items() if k not in ("params", "resourceManagerTags")}
    found = {
        **shown,
        "kind": "compute#instance",
        "id": vm.id,
        "name": vm.name,
        "zone": f"{LINK}/zones/{vm.zone}",
        "selfLink": f"{LINK}/{vm.path}",
        "machineType": f"{LINK}/zones/{vm.zone}/machineTypes/"
        + vm.body["machineType"].rpartition("/")[2],
        "status": vm.status(now),
        "creationTimestamp": stamp(vm.created_at),
    }
    if vm.stopped_at is not None:
        found["lastStopTimestamp"] = stamp(vm.stopped_at)
    return found


def disk(vm: Vm) -> dict[str, Any]:
    parameters = vm.body["disks"][0]["initializeParams"]
    found = {
        "kind": "compute#disk",
        "name": vm.name,
        "sizeGb": str(parameters["diskSizeGb"]),
        "labels": parameters.get("labels", {}),
        "users": [f"{LINK}/{vm.path}"],
    }
    if "hyperdisk" in parameters["diskType"]:
        # Whoever does not say gets more with the size of the disk, and pays for what is above
        # the first 3,000 and 140.
        by_size = {"provisionedIops": 3000 + 6 * int(found["sizeGb"]), "provisionedThroughput": 290}
        found |= {name: str(parameters.get(name, usual)) for name, usual in by_size.items()}
    return found


_USERS = {"launcher": "you@example.com"}


def operation(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": "compute#operation",
        "name": operation.name,
        "zone": f"{LINK}/zones/{operation.zone}",
        "operationType": operation.kind,
        "targetLink": f"{LINK}/{operation.target}",
        "targetId": operation.target_id,
        "status": "DONE" if operation.done_at else "RUNNING",
        "user": operation.account or _USERS.get(operation.user, operation.user),
        "progress": 100 if operation.done_at else 0,
        "insertTime": stamp(operation.begun_at),
        "startTime": stamp(operation.begun_at),
    }
    if operation.done_at:
        found["endTime"] = stamp(operation.done_at)
        if operation.error:
            code, message = operation.error
            found["error"] = {"errors": [{"code": code, "message": message}]}
            found["httpErrorStatusCode"] = 503
            found["httpErrorMessage"] = "SERVICE UNAVAILABLE"
    return found


def machine_type(kind: Kind, zone: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": "compute#machineType",
        "name": kind.name,
        "guestCpus": kind.vcpus,
        "memoryMb": kind.memory_mb,
        "architecture": kind.arch,
        "zone": zone,
        "selfLink": f"{LINK}/zones/{zone}/machineTypes/{kind.name}",
    }
    if kind.gpu:
        found["accelerators"] = [
            {"guestAcceleratorType": kind.gpu, "guestAcceleratorCount": kind.gpus or 1}
        ]
    return found


def image(image: Image) -> dict[str, Any]:
    return {
        "kind": "compute#image",
        "name": image.name,
        "family": image.family,
        "selfLink": f"https://www.googleapis.com/compute/v1/{image.path}",
        "architecture": image.arch,
        "diskSizeGb": str(image.disk_gb),
        "status": "READY",
        "guestOsFeatures": [{"type": feature} for feature in image.features],
    }


@dataclass
class Networks:
    """The networks as the project's owner set them up: one a region, with one subnet, closed."""

    subnets: dict[tuple[str, str], dict[str, Any]] = field(
        default_factory=lambda: {
            (region, f"mlbroker-{region}"): {
                "kind": "compute#subnetwork",
                "name": f"mlbroker-{region}",
                "network": f"{LINK}/global/networks/mlbroker-{region}",
                "region": f"{LINK}/regions/{region}",
                "selfLink": f"{LINK}/regions/{region}/subnetworks/mlbroker-{region}",
                "privateIpGoogleAccess": True,
                "ipCidrRange": "10.0.0.0/20",
            }
            for region in REGIONS
        }
    )
    firewalls: list[dict[str, Any]] = field(
        default_factory=lambda: [
            *(
                {
                    "name": f"mlbroker-nodes-{region}",
                    "network": f"{LINK}/global/networks/mlbroker-{region}",
                    "direction": "INGRESS",
                    "allowed": [{"IPProtocol": "all"}],
                    "sourceTags": ["mlbroker-nodes"],
                    "targetTags": ["mlbroker-nodes"],
                }
                for region in REGIONS
            ),
            {
                "name": "default-allow-ssh",
                "network": f"{LINK}/global/networks/default",
                "direction": "INGRESS",
                "allowed": [{"IPProtocol": "tcp", "ports": ["22"]}],
                "sourceRanges": ["0.0.0.0/0"],
            },
        ]
    )
    routers: list[dict[str, Any]] = field(default_factory=list)

    def add_nat(self, region: str) -> None:
        """A way out to the internet without an address of one's own."""
        self.routers.append(
            {
                "name": f"mlbroker-{region}",
                "network": f"{LINK}/global/networks/mlbroker-{region}",
                "region": f"{LINK}/regions/{region}",
                "nats": [
                    {
                        "name": "out",
                        "natIpAllocateOption": "AUTO_ONLY",
                        "sourceSubnetworkIpRangesToNat": "ALL_SUBNETWORKS_ALL_IP_RANGES",
                    }
                ],
            }
        )

    def open_to_all(self, region: str) -> None:
        """A rule that lets the whole internet in."""
        self.firewalls.append(
            {
                "name": "somebody-opened-it",
                "network": f"{LINK}/global/networks/mlbroker-{region}",
                "direction": "INGRESS",
                "allowed": [{"IPProtocol": "tcp", "ports": ["22"]}],
                "sourceRanges": ["0.0.0.0/0"],
            }
        )
