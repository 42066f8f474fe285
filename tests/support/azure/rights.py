"""Who may do what: what the set-up that mlbroker writes assigns, evaluated for each request."""

import re
from fnmatch import fnmatchcase
from functools import cache
from typing import NamedTuple

from tests.support.azure.blobs import PREFIX as STORAGE
from tests.support.azure.blobs import Blobs
from tests.support.azure.catalog import REGIONS, SUBSCRIPTION
from tests.support.azure.vault import PREFIX as VAULTS
from tests.support.azure.vault import Vault
from tests.support.loopback_http import TokenRequest

from mlbroker.broker.clouds.azure import roles as azure_roles
from mlbroker.broker.clouds.azure.names import Names
from mlbroker.broker.clouds.azure.setup import document

_VERBS = {"GET": "read", "PUT": "write", "DELETE": "delete", "PATCH": "write"}
_GROUPS = "Microsoft.Resources/subscriptions/resourceGroups"
_RESOURCE = re.compile(r"/subscriptions/[^/]+/(?:resourceGroups/([^/]+)/)?providers/([^/]+)/(.+)")
# What something refers to has to be lent to it.
_ASSIGN = ("Microsoft.ManagedIdentity/userAssignedIdentities/assign/action",)
_JOINS = {
    "Microsoft.Compute/virtualMachines/write": (
        *_ASSIGN,
        "Microsoft.Network/networkInterfaces/join/action",
    ),
    "Microsoft.Logic/workflows/write": _ASSIGN,
    "Microsoft.Network/networkInterfaces/write": (
        "Microsoft.Network/networkSecurityGroups/join/action",
        "Microsoft.Network/publicIPAddresses/join/action",
        "Microsoft.Network/virtualNetworks/subnets/join/action",
    ),
}
_LAUNCHER = frozenset(azure_roles.LAUNCHER + azure_roles.LAUNCHER_DATA)
_IDENTITY = re.compile(r"\[reference\(resourceId\('[^']+', '([^']+)'\), '[^']+'\).principalId\]")
# What the guest may do in a group where it was given its role.
IN_ITS_GROUP = frozenset(azure_roles.GUEST)


def action_of(request: TokenRequest) -> str:
    """The right that a request asks for, by its path."""
    if request.path.startswith(STORAGE):
        return Blobs.action(request)
    if request.path.startswith(VAULTS):
        return Vault.action(request)
    verb = _VERBS.get(request.method, "action")
    matched = _RESOURCE.fullmatch(request.path)
    if matched is None:
        return f"{_GROUPS}/{verb}"
    _, space, rest = matched.groups()
    if space == "Microsoft.Insights":
        return "Microsoft.Insights/eventtypes/values/Read"
    words = rest.split("/")
    if words[0] == "locations":
        # `locations/REGION/usages`, `locations/REGION/publishers/NAME/artifacttypes/…`
        kinds = ["locations", *words[2::2]]
    elif request.method == "POST":
        kinds = [*words[:-1:2], words[-1]]
    else:
        kinds = words[::2]
    return "/".join([space, *kinds, verb])


def group_of(request: TokenRequest) -> str | None:
    """The group in which something is asked for, where it is in one."""
    found = re.match(r"/subscriptions/[^/]+/resource[Gg]roups/([^/]+)", request.path)
    return found.group(1) if found else None


def missing(request: TokenRequest) -> str | None:
    """The right that the launcher has not, or None."""
    return next((one for one in needs(request) if one not in _LAUNCHER), None)


def needs(request: TokenRequest) -> tuple[str, ...]:
    """The right that is asked for, and those to what the thing refers to."""
    return (request.action, *_JOINS.get(request.action, ()), *_image_read(request))


def _image_read(request: TokenRequest) -> tuple[str, ...]:
    """The right to read the image of a machine that is asked for."""
    if request.action != "Microsoft.Compute/virtualMachines/write":
        return ()
    named = re.search(
        rb'"(\w+GalleryImageId|id)": ?"(?:/subscriptions/[^"]+Compute)?/(Images|\w*Galleries)/',
        request.body,
        re.IGNORECASE,
    )
    if named is None:
        return ()
    kind = named[2].decode().lower()
    # Of the version, that is: the definition is read by who looks for its plan.
    version = "galleries/images/versions/read"
    return {
        "images": ("Microsoft.Compute/images/read",),
        "galleries": (f"Microsoft.Compute/{version}",),
        "communitygalleries": (f"Microsoft.Compute/locations/communityGalleries/{version[10:]}",),
        "sharedgalleries": (f"Microsoft.Compute/locations/sharedGalleries/{version[10:]}",),
    }[kind]


class Assignment(NamedTuple):
    """A role, given to an identity in a scope, perhaps on a condition."""

    identity: str
    scope: str
    data_actions: frozenset[str]
    condition: str | None


def granted(identity: str, request: TokenRequest) -> bool:
    """Whether a machine's identity may ask for this data, by what the set-up assigns."""
    scope, blob = _asked_of(request)
    return any(
        one.identity == identity
        and one.scope == scope
        and request.action in one.data_actions
        and (one.condition is None or _holds(one.condition, request.action, blob))
        for region in REGIONS
        for one in assignments(region)
    )


@cache
def assignments(region: str) -> tuple[Assignment, ...]:
    """Those that deploying the set-up makes, of identities of its own."""
    names = Names(SUBSCRIPTION, region)
    whole = document(names)
    roles = {
        one["name"]: frozenset(one["properties"]["permissions"][0]["dataActions"])
        for one in whole["resources"]
        if one["type"].endswith("/roleDefinitions")
    }
    (inner,) = (one for one in whole["resources"] if one["type"].endswith("/deployments"))
    found = []
    for one in inner["properties"]["template"]["resources"]:
        about = one.get("properties", {})
        matched = _IDENTITY.fullmatch(about.get("principalId", ""))
        if one["type"].endswith("/roleAssignments") and matched:
            actions = roles[about["roleDefinitionId"].rpartition("/")[2]]
            identity = names.identity(matched.group(1))
            found.append(Assignment(identity, one["scope"], actions, about.get("condition")))
    return tuple(found)


def _asked_of(request: TokenRequest) -> tuple[str, str | None]:
    """The scope of what is asked, below the set-up's group, and the blob's path if it is of one."""
    if request.path.startswith(VAULTS):
        vault = request.path.removeprefix(VAULTS).partition("/")[0]
        return f"Microsoft.KeyVault/vaults/{vault}", None
    if request.path.startswith(STORAGE):
        account, container, *key = request.path.removeprefix(STORAGE).split("/", 2)
        base = f"Microsoft.Storage/storageAccounts/{account}/blobServices/default/containers"
        return f"{base}/{container}", key[0] if key and key[0] else None
    return "", None


def _holds(condition: str, action: str, blob: str | None) -> bool:
    """Whether a condition is true: what is used of the language, written as Python."""
    text = re.sub(r"ActionMatches\{('[^']+')\}", r"(action == \1)", condition)
    text = re.sub(r"@Resource\[[^\]]+/blobs:path\] StringLike ('[^']+')", r"like(\1)", text)
    text = text.replace("!", " not ").replace(" AND ", " and ").replace(" OR ", " or ")

    def like(pattern: str) -> bool:
        # An attribute that what is asked does not have is like nothing.
        return blob is not None and fnmatchcase(blob, pattern)

    return bool(eval(text, {"__builtins__": {}}, {"action": action, "like": like}))
