"""Who may do what: what the set-up that mlbroker writes grants, evaluated for each request."""

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

from tests.support.gcp.catalog import NUMBER, PROJECT, REGIONS
from tests.support.gcp.discovery import Method, found, refuse
from tests.support.gcp.machines import Vm
from tests.support.gcp.wishes import ACCOUNTS
from tests.support.loopback_http import Answer, TokenRequest

from mlbroker.broker.clouds.gcp import roles as gcp_roles
from mlbroker.broker.clouds.gcp.setup import terraform

# The permissions that each method asks for (cloud.google.com/compute/docs/reference/rest/v1).
_INSERT = (
    "compute.instances.create",
    "compute.instances.createTagBinding",
    "compute.disks.create",
    "compute.disks.setLabels",
    "compute.instances.setLabels",
    "compute.instances.setMetadata",
    "compute.instances.setServiceAccount",
    "compute.instances.setTags",
    "compute.images.useReadOnly",
    "compute.subnetworks.use",
    "compute.subnetworks.useExternalIp",
    "resourcemanager.tagValueBindings.create",
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
    # The table's own rights are its dataset's.
    "bigquery.jobs.query": ("bigquery.jobs.create",),
    "bigquery.jobs.getQueryResults": ("bigquery.jobs.create",),
    # What one may do, anybody may ask.
    "cloudresourcemanager.projects.testIamPermissions": (),
    "iam.projects.serviceAccounts.testIamPermissions": (),
}
_INSTANCE = re.compile(r"/compute/v1/projects/[^/]+/zones/([^/]+)/instances/([^/]+)")
_REFERENCE = re.compile(r"\$\{([^}]+)\}")


def needs(action: str) -> tuple[str, ...]:
    """The permissions of a method."""
    return _NEEDS.get(action, (action,))


def launcher_lacks(action: str, missing: set[str]) -> str | None:
    """The permission that the launcher's role has not, or None."""
    allowed = frozenset(gcp_roles.LAUNCHER) - missing
    return next((p for p in needs(action) if p not in allowed), None)


def guest_lacks(request: TokenRequest, vm: Vm | None, vms: Iterable[Vm]) -> str | None:
    """The permission that this machine's account has not on what is asked for, or None."""
    resource = _resource(request, vms)
    for permission in needs(request.action):
        granted = (
            binding
            for region in REGIONS
            for binding in bindings(region)
            if vm is not None and binding.account == vm.account
        )
        if not any(
            permission in one.permissions and _holds(one.condition, resource) for one in granted
        ):
            return permission
    return None


class Name(str):
    """A resource's name, as conditions use it."""

    __slots__ = ()

    def startsWith(self, beginning: str) -> bool:
        return self.startswith(beginning)

    def extract(self, template: str) -> "Name":
        """What stands in the place of the braces; nothing where the rest does not match."""
        before, _, after = re.sub(r"\{\w+\}", "\0", template).partition("\0")
        _, there, rest = self.partition(before)
        return Name(rest.partition(after)[0] if after else rest) if there else Name("")


class Resource(NamedTuple):
    """What a condition looks at."""

    type: str
    name: Name
    tags: Mapping[str, str]

    def matchTag(self, key: str, value: str) -> bool:
        return self.tags.get(key) == value


class Binding(NamedTuple):
    """A role, given to a service account on a condition."""

    account: str
    permissions: frozenset[str]
    condition: str


@cache
def bindings(region: str) -> tuple[Binding, ...]:
    """Those that applying the set-up makes."""
    made = json.loads(terraform(region))["resource"]
    found = []
    for kind in ("google_project_iam_member", "google_storage_bucket_iam_member"):
        for one in made[kind].values():
            if "condition" not in one:
                continue
            role = _referred(one["role"], made)
            found.append(
                Binding(
                    f"{_referred(one['member'], made)['account_id']}@{PROJECT}"
                    ".iam.gserviceaccount.com",
                    frozenset(role["permissions"]),
                    _REFERENCE.sub(PROJECT, one["condition"]["expression"]),
                )
            )
    return tuple(found)


def _referred(reference: str, made: Mapping[str, Any]) -> Any:
    matched = _REFERENCE.fullmatch(reference)
    assert matched is not None
    kind, name, _ = matched.group(1).split(".")
    return made[kind][name]


def _holds(condition: str, resource: Resource) -> bool:
    """Whether a condition is true of a resource: what is used of the language reads as Python."""
    assert len(re.findall(r"&&|\|\|", condition)) <= 12, "more operators than Google takes"
    text = condition.replace("&&", " and ").replace("||", " or ")
    return bool(eval(text, {"__builtins__": {}}, {"resource": resource}))


def _resource(request: TokenRequest, vms: Iterable[Vm]) -> Resource:
    if request.service == "storage":
        bucket, _, key = request.path.lstrip("/").partition("/")
        name = f"projects/_/buckets/{bucket}"
        if not key:
            return Resource("storage.googleapis.com/Bucket", Name(name), {})
        return Resource("storage.googleapis.com/Object", Name(f"{name}/objects/{key}"), {})
    if request.service == "secretmanager.v1":
        path = request.path.removeprefix("/v1/").partition(":")[0]
        kind = "SecretVersion" if "/versions/" in path else "Secret"
        name = path.replace(f"projects/{PROJECT}/", f"projects/{NUMBER}/", 1)
        return Resource(f"secretmanager.googleapis.com/{kind}", Name(name), {})
    matched = _INSTANCE.fullmatch(request.path)
    if matched is not None:
        tags = next((vm.attached_tags for vm in vms if (vm.zone, vm.name) == matched.groups()), {})
        name = request.path.removeprefix("/compute/v1/")
        return Resource("compute.googleapis.com/Instance", Name(name), tags)
    return Resource("", Name(""), {})


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
