"""Who may do what: exactly what the roles that mlbroker writes down allow, and no more."""

import json

from tests.support.gcp.catalog import PROJECT
from tests.support.gcp.discovery import Method, found, refuse
from tests.support.gcp.wishes import ACCOUNTS
from tests.support.loopback_http import GUEST, LAUNCHER, Answer, TokenRequest

from mlbroker.broker.clouds.gcp import roles as gcp_roles

# The permissions that each method asks for (cloud.google.com/compute/docs/reference/rest/v1).
_INSERT = (
    "compute.instances.create",
    "compute.disks.create",
    "compute.disks.setLabels",
    "compute.instances.setLabels",
    "compute.instances.setMetadata",
    "compute.instances.setServiceAccount",
    "compute.instances.setTags",
    "compute.images.useReadOnly",
    "compute.subnetworks.use",
    "compute.subnetworks.useExternalIp",
)
_NEEDS = {
    "compute.instances.insert": _INSERT,
    "compute.instances.bulkInsert": _INSERT,
    "compute.instances.aggregatedList": ("compute.instances.list",),
    "compute.machineTypes.aggregatedList": ("compute.machineTypes.list",),
    "compute.acceleratorTypes.aggregatedList": ("compute.acceleratorTypes.list",),
    "compute.globalOperations.aggregatedList": ("compute.globalOperations.list",),
    "compute.disks.aggregatedList": ("compute.disks.list",),
    "compute.zoneOperations.wait": ("compute.zoneOperations.get",),
    "secretmanager.projects.secrets.create": ("secretmanager.secrets.create",),
    "secretmanager.projects.secrets.delete": ("secretmanager.secrets.delete",),
    "secretmanager.projects.secrets.addVersion": ("secretmanager.versions.add",),
    "secretmanager.projects.secrets.versions.access": ("secretmanager.versions.access",),
    # What one may do, anybody may ask.
    "cloudresourcemanager.projects.testIamPermissions": (),
    "iam.projects.serviceAccounts.testIamPermissions": (),
}
_ROLES = {LAUNCHER: frozenset(gcp_roles.LAUNCHER), GUEST: frozenset(gcp_roles.GUEST)}


def needs(action: str) -> tuple[str, ...]:
    """The permissions of a method."""
    return _NEEDS.get(action, (action,))


def may(who: str, action: str, missing: set[str], guests_may_delete: bool = True) -> str | None:
    """The permission that is missing, or None."""
    allowed = _ROLES[who] - (missing if who == LAUNCHER else set())
    if who == GUEST and not guests_may_delete:
        allowed -= {"compute.instances.delete"}
    return next((p for p in needs(action) if p not in allowed), None)


def rights_of(request: TokenRequest, method: Method, missing: set[str]) -> Answer:
    """Which of the permissions asked about the launcher has, in the project or on an account."""
    asked = json.loads(request.body)["permissions"]
    allowed = {*gcp_roles.LAUNCHER, gcp_roles.ACT_AS} - missing
    if method.id.startswith("iam."):
        email = method.path["serviceAccountsId"]
        if email not in ACCOUNTS:
            return refuse(404, "NOT_FOUND", f"Unknown service account {email}")
    elif method.path["resource"] != PROJECT:
        return refuse(403, "forbidden", "The caller does not have permission")
    return found({"permissions": [permission for permission in asked if permission in allowed]})
