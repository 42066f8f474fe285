"""Whether what is asked for can be made at all, beyond the shape of the request."""

from typing import Any

from tests.support.azure.catalog import IMAGES, REGIONS, SIZES, SUBSCRIPTION, ZONED

from mlbroker.broker.clouds.azure.names import Names
from mlbroker.broker.clouds.seats import SEATS

Refusal = tuple[int, str, str]
_MISSING = "Required parameter '{}' is missing (null)."


def wrong_wish(body: dict[str, Any]) -> Refusal | None:
    """Why this machine cannot be, as a status, a code and words."""
    region = body["location"]
    if region not in REGIONS:
        return 400, "LocationNotAvailableForResourceType", f"'{region}' is not available."
    had = body.get("properties") or {}
    for part in ("hardwareProfile", "storageProfile", "osProfile", "networkProfile"):
        if not had.get(part):
            return 400, "InvalidParameter", _MISSING.format(part)
    size = SIZES.get(had["hardwareProfile"].get("vmSize", ""))
    if size is None:
        return 400, "InvalidParameter", "The value of parameter 'vmSize' is invalid."
    zones = body.get("zones") or []
    if zones and (region not in ZONED or zones[0] not in ("1", "2", "3")):
        return 400, "InvalidAvailabilityZone", f"The zone(s) '{zones}' are not supported."
    for check in (_wrong_storage, _wrong_system, _wrong_network, _wrong_market):
        refusal = check(had, region)
        if refusal:
            return refusal
    return _wrong_identity(body.get("identity") or {}, region)


def _wrong_storage(had: dict[str, Any], region: str) -> Refusal | None:
    disk = had["storageProfile"].get("osDisk") or {}
    image = had["storageProfile"].get("imageReference") or {}
    if disk.get("createOption") != "FromImage":
        return 400, "InvalidParameter", _MISSING.format("osDisk.createOption")
    if disk.get("diskSizeGB", 30) < 10:
        return 400, "InvalidParameter", "osDisk.diskSizeGB is smaller than the image's own disk."
    if "id" in image:
        return None
    told = tuple(image.get(part) for part in ("publisher", "offer", "sku"))
    if told not in IMAGES or not image.get("version"):
        return 404, "PlatformImageNotFound", f"The platform image '{told}' is not available."
    size = SIZES[had["hardwareProfile"]["vmSize"]]
    if ("arm" in str(image["sku"])) != (size.arch == "Arm64"):
        return 400, "BadRequest", f"Cannot create a VM with size {size.name}: other architecture."
    if "gen2" in str(image["sku"]) and "V2" not in size.gen:
        return 400, "BadRequest", "The selected VM size cannot boot Hypervisor Generation 2."
    return None


def _wrong_system(had: dict[str, Any], region: str) -> Refusal | None:
    system = had["osProfile"]
    for part in ("computerName", "adminUsername"):
        if not system.get(part):
            return 400, "InvalidParameter", _MISSING.format(f"osProfile.{part}")
    if len(system["computerName"]) > 64:
        return 400, "InvalidParameter", "Linux host name cannot exceed 64 characters in length."
    keys = (system.get("linuxConfiguration") or {}).get("ssh", {}).get("publicKeys", [])
    if not system.get("adminPassword") and not keys:
        return 400, "InvalidParameter", "Authentication using either SSH or by user name is needed."
    kinds = ("ssh-rsa ", "ssh-ed25519 ")
    if any(not str(key.get("keyData", "")).startswith(kinds) for key in keys):
        return 400, "InvalidParameter", "The value of parameter linuxConfiguration.ssh is invalid."
    return None


def _wrong_network(had: dict[str, Any], region: str) -> Refusal | None:
    interfaces = had["networkProfile"].get("networkInterfaces") or []
    if not interfaces:
        return 400, "InvalidParameter", _MISSING.format("networkInterfaces")
    return None


def _wrong_market(had: dict[str, Any], region: str) -> Refusal | None:
    is_spot = had.get("priority") == "Spot"
    if not is_spot and ("evictionPolicy" in had or "billingProfile" in had):
        return (
            400,
            "InvalidParameter",
            "Eviction policy and max price can be set only on Azure Spot Virtual Machines.",
        )
    return None


def _wrong_identity(identity: dict[str, Any], region: str) -> Refusal | None:
    known = {Names(SUBSCRIPTION, region).seat(seat) for seat in SEATS}
    strange = set(identity.get("userAssignedIdentities", {})) - known
    if strange:
        return 400, "FailedIdentityOperation", f"Resource '{strange}' was not found."
    return None
