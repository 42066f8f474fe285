"""What Compute Engine insists on in a new machine beyond the shape of the request."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.support.gcp import catalog
from tests.support.gcp.documents import Networks

from mlbroker.broker.clouds.gcp.names import Names
from mlbroker.broker.clouds.seats import SEATS

Refusal = tuple[int, str, str]
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
SHORTEST, LONGEST = timedelta(seconds=30), timedelta(days=120)
ACCOUNTS = {
    Names(catalog.PROJECT, region).guest(seat) for region in catalog.REGIONS for seat in SEATS
}


@dataclass
class Wish:
    """One instance asked for; `kind` is set once the request was found to be right."""

    name: str
    body: dict[str, Any]
    kind: catalog.Kind

    @classmethod
    def of_instance(cls, body: dict[str, Any], zone: str) -> "Wish":
        return cls(body["name"], body, _kind(body))

    @classmethod
    def of_bulk(cls, body: dict[str, Any], zone: str) -> "list[Wish] | str":
        properties = body.get("instanceProperties")
        names = list(body.get("perInstanceProperties", {}))
        if properties is None:
            return "Required field 'resource.instanceProperties' not specified"
        if int(body.get("count", 0)) != len(names):
            return "Field 'count' must equal the number of perInstanceProperties."
        if "/" in properties.get("machineType", ""):
            return "Invalid value for field 'instanceProperties.machineType': a name is wanted"
        if any("/" in a["acceleratorType"] for a in properties.get("guestAccelerators", [])):
            return "Invalid value for field 'guestAccelerators.acceleratorType': a name is wanted"
        kind = f"zones/{zone}/machineTypes/{properties.get('machineType')}"
        made = []
        for name in names:
            one = {**properties, "name": name, "machineType": kind}
            one["disks"] = [_with_full_type(disk, zone) for disk in properties.get("disks", [])]
            made.append(cls(name, one, _kind(one)))
        return made

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.body.get("labels", {}))

    @property
    def scheduling(self) -> dict[str, Any]:
        return dict(self.body.get("scheduling", {}))

    @property
    def is_spot(self) -> bool:
        return self.scheduling.get("provisioningModel") == "SPOT"

    @property
    def attached(self) -> dict[str, int]:
        return {
            a["acceleratorType"].rpartition("/")[2]: int(a["acceleratorCount"])
            for a in self.body.get("guestAccelerators", [])
        }

    @property
    def gpus(self) -> dict[str, int]:
        inside = {self.kind.gpu: self.kind.gpus} if self.kind.gpu else {}
        return {**inside, **self.attached}

    @property
    def terminates_at(self) -> datetime | None:
        text = self.scheduling.get("terminationTime")
        return datetime.fromisoformat(text) if text else None


def _with_full_type(disk: dict[str, Any], zone: str) -> dict[str, Any]:
    """Bulk requests name disk types shortly."""
    parameters = disk.get("initializeParams", {})
    if "diskType" in parameters and "/" not in parameters["diskType"]:
        parameters = {**parameters, "diskType": f"zones/{zone}/diskTypes/{parameters['diskType']}"}
    return {**disk, "initializeParams": parameters}


def _kind(body: dict[str, Any]) -> catalog.Kind:
    name = body.get("machineType", "").rpartition("/")[2]
    return catalog.kind_of(name) or catalog.Kind("", 0, 0)


def wrong_wish(wish: Wish, zone: str, networks: Networks, now: datetime) -> Refusal | None:
    """What is wrong with it, as the service would say."""
    checks = (
        _wrong_name(wish),
        _wrong_type(wish, zone),
        _wrong_disks(wish, zone),
        _wrong_network(wish, zone, networks),
        _wrong_gpus(wish, zone),
        _wrong_market(wish),
        _wrong_schedule(wish, now),
        _wrong_rest(wish),
    )
    return next((refusal for refusal in checks if refusal), None)


def _invalid(field: str, value: object, why: str = "") -> Refusal:
    return 400, "invalid", f"Invalid value for field 'resource.{field}': '{value}'. {why}".strip()


def _wrong_name(wish: Wish) -> Refusal | None:
    if not _NAME.fullmatch(wish.name):
        return _invalid("name", wish.name, f"Must be a match of regex '{_NAME.pattern}'")
    for key, value in wish.labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            return _invalid("labels", f"{key}={value}")
    return None


def _wrong_type(wish: Wish, zone: str) -> Refusal | None:
    given = wish.body.get("machineType", "")
    path = re.fullmatch(r"(?:projects/[^/]+/)?zones/([^/]+)/machineTypes/([^/]+)", given)
    if path is None:
        return _invalid("machineType", given, "The URL is malformed.")
    if path.group(1) != zone:
        return _invalid("machineType", given, "It belongs to another zone.")
    if not wish.kind.name or zone not in catalog.zones_of(wish.kind.name):
        return _invalid("machineType", given, f"Machine type does not exist in zone {zone}.")
    return None


def _wrong_disks(wish: Wish, zone: str) -> Refusal | None:
    disks = wish.body.get("disks", [])
    if sum(bool(disk.get("boot")) for disk in disks) != 1:
        return 400, "required", "Invalid value for field 'resource.disks': exactly one boot disk"
    parameters = disks[0].get("initializeParams", {})
    source = parameters.get("sourceImage", "")
    image = next((i for i in catalog.IMAGES if source.endswith(i.path)), None)
    if image is None:
        return 404, "notFound", f"The resource '{source}' was not found"
    if int(parameters.get("diskSizeGb", image.disk_gb)) < image.disk_gb:
        size = parameters["diskSizeGb"]
        return _invalid(
            "disks[0].initializeParams.diskSizeGb",
            size,
            f"Requested disk size cannot be smaller than the image size ({image.disk_gb} GB)",
        )
    if image.arch != wish.kind.arch:
        return _invalid("disks[0]", image.name, "Architecture does not fit the machine type.")
    kind = parameters.get("diskType", f"zones/{zone}/diskTypes/pd-standard")
    prefix = f"zones/{zone}/diskTypes/"
    if prefix not in kind:
        return _invalid("disks[0].initializeParams.diskType", kind, "The URL is malformed.")
    short = kind.rpartition("/")[2]
    if not wish.kind.takes(short):
        return _incompatible(short, wish.kind.name)
    provisioned = {"provisionedIops", "provisionedThroughput"} & parameters.keys()
    if provisioned and not short.startswith("hyperdisk"):
        return _invalid("disks[0].initializeParams", provisioned, f"Not supported for {short}.")
    return _wrong_firmware(wish, image)


def _wrong_firmware(wish: Wish, image: catalog.Image) -> Refusal | None:
    shielded = wish.body.get("shieldedInstanceConfig")
    if shielded and "UEFI_COMPATIBLE" not in image.features:
        return _invalid("shieldedInstanceConfig", shielded, "The image is not UEFI compatible.")
    if shielded and wish.kind.is_bare_metal:
        return _invalid("shieldedInstanceConfig", shielded, "Bare metal is not supported.")
    card = (wish.body.get("networkInterfaces") or [{}])[0].get("nicType")
    if wish.kind.is_bare_metal and (card != "IDPF" or "IDPF" not in image.features):
        return _invalid("networkInterfaces[0].nicType", card, "Bare metal wants IDPF.")
    return None


def _incompatible(*features: str) -> Refusal:
    what = ", ".join(features)
    return 400, "badRequest", f"[{what}] features are not compatible for creating instance."


def _wrong_network(wish: Wish, zone: str, networks: Networks) -> Refusal | None:
    interfaces = wish.body.get("networkInterfaces", [])
    if not interfaces:
        return 400, "required", "At least one network interface is required."
    subnet = interfaces[0].get("subnetwork", "")
    region = zone.rpartition("-")[0]
    known = networks.subnets.get((region, subnet.rpartition("/")[2]))
    if known is None or not known["selfLink"].endswith(subnet.removeprefix("https://")):
        return 404, "notFound", f"The resource '{subnet}' was not found"
    return None


def _wrong_gpus(wish: Wish, zone: str) -> Refusal | None:
    for name in wish.attached:
        if name not in catalog.ATTACHABLE or zone not in catalog.zones_of(name):
            return _invalid("guestAccelerators", name, "Unknown in this zone.")
        if not wish.kind.name.startswith("n1-"):
            return _incompatible(wish.kind.name, name)
    if wish.gpus and wish.scheduling.get("onHostMaintenance") != "TERMINATE":
        return (
            400,
            "badRequest",
            "Instances with guest accelerators do not support live migration.",
        )
    return None


def _wrong_market(wish: Wish) -> Refusal | None:
    kind, model = wish.kind, "SPOT" if wish.is_spot else "STANDARD"
    if model not in kind.models():
        return _incompatible(kind.name, model)
    given = wish.scheduling.get("onHostMaintenance", "TERMINATE" if wish.is_spot else "MIGRATE")
    if kind.name.startswith("z3-") and given not in kind.maintenance():
        return _invalid("scheduling.onHostMaintenance", given, f"{kind.name} does not support it.")
    if wish.is_spot or given in kind.maintenance():
        return None
    family = kind.name.partition("-")[0]
    return _invalid(
        "scheduling.onHostMaintenance",
        given,
        f"{family} instances do not support onHostMaintenance={given} unless they are preemptible.",
    )


def _wrong_schedule(wish: Wish, now: datetime) -> Refusal | None:
    given = wish.scheduling
    if wish.is_spot and given.get("onHostMaintenance") == "MIGRATE":
        return _invalid("scheduling.onHostMaintenance", "MIGRATE", "Spot VMs cannot migrate.")
    if wish.is_spot and given.get("automaticRestart", True):
        return _invalid("scheduling.automaticRestart", "true", "Spot VMs do not restart.")
    limited = "terminationTime" in given or "maxRunDuration" in given
    if "terminationTime" in given and "maxRunDuration" in given:
        return _invalid("scheduling", given, "Either a duration or a time can be given.")
    if "instanceTerminationAction" in given and not (limited or wish.is_spot):
        return _invalid("scheduling.instanceTerminationAction", "", "It needs a limit.")
    if limited and "instanceTerminationAction" not in given:
        return _invalid("scheduling.instanceTerminationAction", "", "A limit needs an action.")
    if "terminationTime" in given:
        try:
            at = datetime.fromisoformat(given["terminationTime"])
        except ValueError:
            at = None
        if at is None or at.tzinfo is None:
            return _invalid("scheduling.terminationTime", given["terminationTime"], "RFC 3339")
        if not now + SHORTEST <= at <= now + LONGEST:
            return _invalid(
                "scheduling.terminationTime",
                given["terminationTime"],
                "Must be between 30 seconds and 120 days in the future.",
            )
    return None


def _wrong_rest(wish: Wish) -> Refusal | None:
    items = wish.body.get("metadata", {}).get("items", [])
    if any(len(item["value"]) > 262144 for item in items):
        return 413, "uploadTooLarge", "Metadata value exceeds 262144 characters."
    accounts = wish.body.get("serviceAccounts", [])
    if len(accounts) > 1:
        return _invalid("serviceAccounts", accounts, "At most one.")
    if accounts and accounts[0]["email"] not in ACCOUNTS:
        email = accounts[0]["email"]
        return (
            400,
            "invalidParameter",
            f"The resource '{email}' of type 'serviceAccount' was not found.",
        )
    keys = {
        f"{catalog.PROJECT}/{Names(catalog.PROJECT, region).seat_tag}" for region in catalog.REGIONS
    }
    for key, value in wish.body.get("params", wish.body).get("resourceManagerTags", {}).items():
        if key not in keys or value not in SEATS:
            return 403, "forbidden", f"Permission denied on resource '{key}/{value}'"
    return None
