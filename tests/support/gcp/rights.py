"""Who may do what: exactly what the roles that mlbroker writes down allow, and no more."""

from mlbroker.broker.clouds import gcp_roles

LAUNCHER, GUEST = "launcher", "guest"
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
    "compute.disks.aggregatedList": ("compute.disks.list",),
    "compute.zoneOperations.wait": ("compute.zoneOperations.get",),
    "secretmanager.projects.secrets.create": ("secretmanager.secrets.create",),
    "secretmanager.projects.secrets.delete": ("secretmanager.secrets.delete",),
    "secretmanager.projects.secrets.addVersion": ("secretmanager.versions.add",),
    "secretmanager.projects.secrets.versions.access": ("secretmanager.versions.access",),
}
_ROLES = {LAUNCHER: frozenset(gcp_roles.LAUNCHER), GUEST: frozenset(gcp_roles.GUEST)}


def needs(action: str) -> tuple[str, ...]:
    """The permissions of a method."""
    return _NEEDS.get(action, (action,))


def may(who: str, action: str, guests_may_delete: bool = True) -> str | None:
    """The permission that is missing, or None."""
    allowed = _ROLES[who]
    if who == GUEST and not guests_may_delete:
        allowed -= {"compute.instances.delete"}
    return next((p for p in needs(action) if p not in allowed), None)
