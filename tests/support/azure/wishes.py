"""Whether what is asked for can be made at all, beyond the shape of the request."""

import base64
from typing import Any

from tests.support.azure.catalog import (
    COPIES,
    IMAGES,
    REGIONS,
    SIZES,
    SUBSCRIPTION,
    VERSIONS,
    ZONED,
    copy_named,
)

from mlbroker.broker.clouds.azure.names import Names
from mlbroker.broker.clouds.seats import SEATS

Refusal = tuple[int, str, str]
# Some of those that `OSProfile.adminUsername` of azure.mgmt.compute names.
_NO_USERS = frozenset({"adm", "admin", "administrator", "guest", "owner", "root", "test", "user"})
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
    if size.confidential and (had.get("securityProfile") or {}).get("securityType") not in (
        "ConfidentialVM", "ConfidentialVM_NonPersistedTPM"
    ):  # fmt: skip
        return (
            400, "BadRequest",
            f"The VM size '{size.name}' is not supported for creation of VMs and Virtual Machine "
            "Scale Set with '<NULL>' security type.",
        )  # fmt: skip
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
    copy = copy_named(image)
    if copy is not None:
        if copy in COPIES:
            return None
        return 404, "GalleryImageNotFound", f"The gallery image {copy} is not available."
    told = tuple(str(image.get(part)) for part in ("publisher", "offer", "sku"))
    known = IMAGES.get(told)  # type: ignore[call-overload]
    if known is None or image.get("version") not in ("latest", *VERSIONS):
        return 404, "PlatformImageNotFound", f"The platform image '{told}' is not available."
    size = SIZES[had["hardwareProfile"]["vmSize"]]
    if known.arch != size.arch:
        return (
            400, "BadRequest",
            f"Cannot create a VM of size '{size.name}' because this VM size only supports a CPU "
            f"Architecture of '{size.arch}', but an image or disk with CPU Architecture "
            f"'{known.arch}' was given.",
        )  # fmt: skip
    if known.gen not in size.gen:
        return (
            400, "BadRequest",
            f"The selected VM size '{size.name}' cannot boot Hypervisor Generation '{known.gen}'.",
        )  # fmt: skip
    return None


def wrong_plan(body: dict[str, Any], accepted: set[str]) -> Refusal | None:
    """What the Marketplace asks of an image that carries a plan, or was made from one."""
    wanted, plan = _plan_wanted(body), body.get("plan")
    if wanted is None:
        return None
    if plan != wanted:
        return (
            400, "VMMarketplaceInvalidInput",
            "Creating a virtual machine from Marketplace image or a custom image sourced from a "
            "Marketplace image requires Plan information in the request.",
        )  # fmt: skip
    if ":".join((plan["publisher"], plan["product"], plan["name"])) not in accepted:
        return (
            400, "ResourcePurchaseValidationFailed",
            "User failed validation to purchase resources. Error message: 'You have not accepted "
            "the legal terms on this subscription'",
        )  # fmt: skip
    return None


def _plan_wanted(body: dict[str, Any]) -> dict[str, str] | None:
    image = body["properties"]["storageProfile"].get("imageReference") or {}
    copy = copy_named(image)
    if copy is not None:
        return COPIES.get(copy)
    told = tuple(str(image.get(part)) for part in ("publisher", "offer", "sku"))
    known = IMAGES.get(told)  # type: ignore[call-overload]
    has_plan = known is not None and known.plan
    return {"publisher": told[0], "product": told[1], "name": told[2]} if has_plan else None


def _wrong_system(had: dict[str, Any], region: str) -> Refusal | None:
    system = had["osProfile"]
    for part in ("computerName", "adminUsername"):
        if not system.get(part):
            return 400, "InvalidParameter", _MISSING.format(f"osProfile.{part}")
    if len(system["computerName"]) > 64:
        return 400, "InvalidParameter", "Linux host name cannot exceed 64 characters in length."
    if system["adminUsername"] in _NO_USERS:
        return 400, "InvalidParameter", "The Admin Username specified is not allowed."
    keys = (system.get("linuxConfiguration") or {}).get("ssh", {}).get("publicKeys", [])
    if not system.get("adminPassword") and not keys:
        return 400, "InvalidParameter", "Authentication using either SSH or by user name is needed."
    home = f"/home/{system['adminUsername']}/.ssh/authorized_keys"
    if any(not _is_rsa(str(key.get("keyData", ""))) or key.get("path") != home for key in keys):
        return 400, "InvalidParameter", "The value of parameter linuxConfiguration.ssh is invalid."
    return None


def _is_rsa(key: str) -> bool:
    """Of 2048 bits or more, which Azure takes everywhere."""
    kind, _, data = key.partition(" ")
    blob, fields = base64.b64decode(data.partition(" ")[0]), [b""]
    while blob:
        size = 4 + int.from_bytes(blob[:4], "big")
        fields.append(blob[4:size])
        blob = blob[size:]
    modulus = int.from_bytes(fields[-1], "big", signed=True)
    return kind == "ssh-rsa" and fields[1] == b"ssh-rsa" and modulus.bit_length() >= 2048


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
