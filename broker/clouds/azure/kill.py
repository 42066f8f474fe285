"""The kill switch outside: a Logic App that deletes an attempt's resource group, again and again.

It is there before the group is, and stands in the set-up's group: what it deletes does not
take it along, so a deletion that fails late is tried anew.
"""

from datetime import UTC, datetime
from typing import Any

from mlbroker.broker.clouds.azure.calls import MANAGEMENT, Calls, done, translated
from mlbroker.broker.clouds.azure.names import (
    GUEST_ROLE,
    NODES_TAG,
    Names,
    assignment_id,
)
from mlbroker.broker.clouds.azure.network import Spot, how_to_set_up, spot_in
from mlbroker.broker.clouds.azure.request import address_body, interface_body
from mlbroker.broker.clouds.interface import Denied, Intent, Unclear
from mlbroker.broker.clouds.rented import checked_token, machine_names

AGAIN_MINUTES = 3
GROUPS_VERSION = "2024-07-01"
MACHINES = "Microsoft.Compute/virtualMachines"
_IDENTITY_VERSION = "2023-01-31"
_LOGIC_VERSION = "2019-05-01"
_RIGHTS_VERSION = "2022-04-01"
_SCHEMA = (
    "https://schema.management.azure.com/providers/Microsoft.Logic/schemas/"
    "2016-06-01/workflowdefinition.json#"
)


def arm(calls: Calls, names: Names, intent: Intent) -> None:
    """First what ends it, then the empty group, then the right to end it: each may be repeated.

    The machines' network interfaces come last, and never again: a machine takes its own along
    when it goes, so that a request to make it that comes late, or twice, finds none.
    """
    where = f"azure {names.region}"
    group = checked_token(intent)
    spot = spot_in(calls, names)
    principal = principal_of(calls, names, names.ender)
    body = workflow_body(names, group, intent)
    calls.ask("PUT", names.workflow(group), _LOGIC_VERSION, where, body)
    with translated(where):
        tags = {**intent.tags, NODES_TAG: str(intent.nodes)}
        calls.resources.resource_groups.create_or_update(
            group, {"location": names.region, "tags": tags}
        )
    _let_end(calls, names, group, principal)
    for name in machine_names(group, intent.nodes):
        _admit(calls, names, intent, name, spot)


def let_end_itself(calls: Calls, names: Names, group: str, seat: str) -> None:
    """Give the machines on this seat the right to end their own group, and no other."""
    _let_end(calls, names, group, principal_of(calls, names, names.seat(seat)))


def principal_of(calls: Calls, names: Names, identity: str) -> str:
    """By what rights are given to an identity of the set-up."""
    where = f"azure {names.region}"
    found = calls.ask("GET", identity, _IDENTITY_VERSION, where)
    if found is None:
        raise Denied(
            f"there is no identity {identity.rpartition('/')[2]} in {names.group}",
            where=where,
            hint=f"{how_to_set_up(names.region)} Apply it, again where the region was set up by an "
            "older mlbroker: each run's machines have an identity of their own.",
        )
    return str(found["properties"]["principalId"])


def _let_end(calls: Calls, names: Names, group: str, principal: str) -> None:
    scope = names.attempt(group)
    number = assignment_id(f"{scope} {principal}")
    given = {
        "properties": {
            "roleDefinitionId": f"/subscriptions/{names.subscription}/providers/"
            f"Microsoft.Authorization/roleDefinitions/{role_id(names.subscription)}",
            "principalId": principal,
            "principalType": "ServicePrincipal",
        }
    }
    right = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{number}"
    calls.ask("PUT", right, _RIGHTS_VERSION, f"azure {names.region}", given)


def _admit(calls: Calls, names: Names, intent: Intent, name: str, spot: Spot) -> None:
    where, group = f"azure {names.region}", checked_token(intent)
    with translated(where):
        if spot.needs_address:
            poller = calls.network.public_ip_addresses.begin_create_or_update(
                group, name, address_body(intent)
            )
            done(poller, f"making the address {name}", where)
        poller = calls.network.network_interfaces.begin_create_or_update(
            group, name, interface_body(intent, names, name, spot)
        )
        done(poller, f"making the interface {name}", where)


def disarm(calls: Calls, names: Names, intent: Intent) -> None:
    """Take the empty group away and, once it is gone for certain, what would have done it."""
    where, group = f"azure {names.region}", checked_token(intent)
    poller = delete_group(calls, group, followed=True)
    if poller is not None:
        try:
            with translated(where):
                done(poller, f"removing the group {group}", where)
        except Denied as error:
            raise Unclear(f"group {group} is still there: {error.what}", where=where) from None
    calls.ask("DELETE", names.workflow(group), _LOGIC_VERSION, where)


def is_armed(calls: Calls, names: Names, token: str) -> bool:
    """Whether the Logic App of this attempt is there."""
    return calls.ask("GET", names.workflow(token), _LOGIC_VERSION, "azure") is not None


def delete_group(calls: Calls, group: str, *, followed: bool = False) -> Any:
    """Ask for the end of a group and of all that is in it; None when there is no such group.

    `followed` gives something to wait with.
    """
    with translated("azure"):
        from azure.core.exceptions import ResourceNotFoundError

        try:
            return calls.resources.resource_groups.begin_delete(
                group, force_deletion_types=MACHINES, polling=followed
            )
        except ResourceNotFoundError:
            return None


def workflow_body(names: Names, group: str, intent: Intent) -> dict[str, Any]:
    """One trigger and one action: at the kill time, and from then on, delete the group."""
    uri = (
        f"{MANAGEMENT}{names.attempt(group)}?api-version={GROUPS_VERSION}"
        f"&forceDeletionTypes={MACHINES}"
    )
    definition = {
        "$schema": _SCHEMA,
        "contentVersion": "1.0.0.0",
        "triggers": {
            "from_the_kill_time_on": {
                "type": "Recurrence",
                "recurrence": {
                    "frequency": "Minute",
                    "interval": AGAIN_MINUTES,
                    # With a Z, as no time zone is named
                    # (learn.microsoft.com/azure/logic-apps/logic-apps-workflow-actions-triggers).
                    "startTime": stamp(intent.kill_at),
                },
            }
        },
        "actions": {
            "delete_the_group": {
                "type": "Http",
                "inputs": {
                    "method": "DELETE",
                    "uri": uri,
                    "authentication": {
                        "type": "ManagedServiceIdentity",
                        "identity": names.ender,
                        "audience": f"{MANAGEMENT}/",
                    },
                },
                "runAfter": {},
            }
        },
    }
    return {
        "location": names.region,
        "tags": dict(intent.tags),
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {names.ender: {}}},
        "properties": {"state": "Enabled", "definition": definition},
    }


def stamp(moment: datetime) -> str:
    """As Azure writes times; whole seconds, never later than asked."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def role_id(subscription: str) -> str:
    """The role of a guest on its own group: custom roles are known by a number."""
    return assignment_id(f"{subscription} {GUEST_ROLE}")
