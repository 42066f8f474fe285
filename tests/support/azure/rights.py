"""Who may do what: exactly what the roles that mlbroker writes down allow, and no more."""

import re

from tests.support.azure.blobs import PREFIX as STORAGE
from tests.support.azure.blobs import Blobs
from tests.support.azure.vault import PREFIX as VAULTS
from tests.support.azure.vault import Vault
from tests.support.loopback_http import GUEST, LAUNCHER, TokenRequest

from mlbroker.broker.clouds.azure import roles as azure_roles

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
_ROLES = {
    LAUNCHER: frozenset(azure_roles.LAUNCHER + azure_roles.LAUNCHER_DATA),
    GUEST: frozenset(azure_roles.GUEST_DATA),
}
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
        kinds = ["locations", words[2]]
    elif request.method == "POST":
        kinds = [*words[:-1:2], words[-1]]
    else:
        kinds = words[::2]
    return "/".join([space, *kinds, verb])


def group_of(request: TokenRequest) -> str | None:
    """The group in which something is asked for, where it is in one."""
    found = re.match(r"/subscriptions/[^/]+/resource[Gg]roups/([^/]+)", request.path)
    return found.group(1) if found else None


def missing(who: str, action: str) -> str | None:
    """The right that is missing, or None."""
    needed = (action, *_JOINS.get(action, ()))
    return next((one for one in needed if one not in _ROLES[who]), None)
