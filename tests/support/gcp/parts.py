"""What machines are made of: types, accelerators, images, disks, and the networks they stand in."""

from typing import Any

from tests.support.gcp import catalog, documents
from tests.support.gcp.discovery import found
from tests.support.gcp.faults import GcpFaults
from tests.support.gcp.limits import Limits
from tests.support.gcp.machines import Machines
from tests.support.gcp.queries import missing, name_in_filter, scopes, wanted_by
from tests.support.loopback_http import Answer, TokenRequest


class Parts:
    """The methods that only look."""

    machines: Machines
    limits: Limits
    networks: documents.Networks
    _faults: GcpFaults

    def disks_aggregatedList(self, request: TokenRequest, path: dict[str, str]) -> Answer:
        by_zone: dict[str, list[Any]] = {zone: [] for zone in catalog.ZONES}
        kept = self.machines.all if self._faults.disks_stay else self.machines.living()
        for vm in kept:
            by_zone[vm.zone].append(documents.disk(vm))
        return scopes("disks", by_zone, wanted_by(request), self._faults.unreachable_zones)

    def machineTypes_get(self, request: TokenRequest, path: dict[str, str]) -> Answer:
        kind = catalog.kind_of(path["machineType"])
        if kind is None or path["zone"] not in catalog.zones_of(kind.name):
            return missing(f"zones/{path['zone']}/machineTypes/{path['machineType']}")
        return found(documents.machine_type(kind, path["zone"]))

    def machineTypes_aggregatedList(self, request: TokenRequest, path: dict[str, str]) -> Answer:
        by_zone: dict[str, list[Any]] = {zone: [] for zone in catalog.ZONES}
        for kind in catalog.kinds_called(name_in_filter(request)):
            for zone in catalog.zones_of(kind.name):
                by_zone[zone].append(documents.machine_type(kind, zone))
        return scopes("machineTypes", by_zone, wanted_by(request), self._faults.unreachable_zones)

    def acceleratorTypes_aggregatedList(
        self, request: TokenRequest, path: dict[str, str]
    ) -> Answer:
        by_zone: dict[str, list[Any]] = {
            zone: [
                {"name": name, "zone": f"zones/{zone}", "maximumCardsPerInstance": 4}
                for name in catalog.ATTACHABLE
                if zone in catalog.zones_of(name)
            ]
            for zone in catalog.ZONES
        }
        return scopes(
            "acceleratorTypes", by_zone, wanted_by(request), self._faults.unreachable_zones
        )

    def zones_list(self, request: TokenRequest, path: dict[str, str]) -> Answer:
        items = [{"name": zone, "status": "UP", "region": documents.region_link(zone)}
                 for zone in catalog.ZONES]  # fmt: skip
        return found({"kind": "compute#zoneList", "items": items})

    def regions_list(self, request: TokenRequest, path: dict[str, str]) -> Answer:
        items = [
            {"name": name, "status": "UP", "quotas": self.limits.quotas_of(name)}
            for name in catalog.REGIONS
        ]
        return found({"kind": "compute#regionList", "items": items})

    def regions_get(self, request: TokenRequest, path: dict[str, str]) -> Answer:
        if path["region"] not in catalog.REGIONS:
            return missing(f"regions/{path['region']}")
        quotas = self.limits.quotas_of(path["region"])
        return found({"name": path["region"], "status": "UP", "quotas": quotas})

    def projects_get(self, request: TokenRequest, path: dict[str, str]) -> Answer:
        return found({"name": catalog.PROJECT, "id": catalog.NUMBER,
                      "quotas": self.limits.quotas_of_project()})  # fmt: skip

    def images_get(self, request: TokenRequest, path: dict[str, str]) -> Answer:
        for image in catalog.IMAGES:
            if (image.project, image.name) == (path["project"], path["image"]):
                return found(documents.image(image))
        return missing(f"global/images/{path['image']}", path["project"])

    def images_getFromFamily(self, request: TokenRequest, path: dict[str, str]) -> Answer:
        for image in catalog.IMAGES:
            if (image.project, image.family) == (path["project"], path["family"]):
                return found(documents.image(image))
        return missing(f"global/images/family/{path['family']}", path["project"])

    def subnetworks_get(self, request: TokenRequest, path: dict[str, str]) -> Answer:
        subnet = self.networks.subnets.get((path["region"], path["subnetwork"]))
        if subnet is None:
            return missing(f"regions/{path['region']}/subnetworks/{path['subnetwork']}")
        return found(subnet)

    def firewalls_list(self, request: TokenRequest, path: dict[str, str]) -> Answer:
        return found({"kind": "compute#firewallList", "items": self.networks.firewalls})

    def routers_list(self, request: TokenRequest, path: dict[str, str]) -> Answer:
        routers = [r for r in self.networks.routers if r["region"].endswith(path["region"])]
        return found({"kind": "compute#routerList", "items": routers})
