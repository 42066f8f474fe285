"""What a subscription needs once in each region, written down for its owner to apply.

mlbroker applies nothing of it by itself.
"""

import json
import uuid
from typing import Any

from mlbroker.broker.clouds.azure.calls import Calls
from mlbroker.broker.clouds.azure.kill import role_id
from mlbroker.broker.clouds.azure.names import GUEST as GUEST_NAME
from mlbroker.broker.clouds.azure.names import GUEST_ROLE, NAME, Names
from mlbroker.broker.clouds.azure.roles import GUEST, GUEST_DATA, LAUNCHER, LAUNCHER_DATA
from mlbroker.broker.clouds.rented import Form

# Kept long enough to fetch results after a holiday; runs that were collected are gone at once.
KEEP_DAYS = 30
RANGE = "10.64.0.0/18"
_SCHEMA = "https://schema.management.azure.com/schemas/{}#"
_ROLES = uuid.UUID("8f2f5c0e-3b11-4a55-9a9c-0d1c2f4a6b7e")


def template(region: str) -> str:
    """The set-up as a template of Azure Resource Manager, for the whole subscription."""
    names = Names(Calls().subscription, region)
    roles = {
        "launcher": (_role(names, "launcher"), "mlbroker launcher", LAUNCHER, ()),
        "data": (_role(names, "data"), "mlbroker launcher's data", (), LAUNCHER_DATA),
        "guest": (_role(names, "guest"), "mlbroker machines' data", (), GUEST_DATA),
        "run": (role_id(names.subscription), GUEST_ROLE, GUEST, ()),
    }
    inner = f"mlbroker-{region}"
    guest = f"reference('{inner}').outputs.guest.value"
    document = {
        "$schema": _SCHEMA.format("2018-05-01/subscriptionDeploymentTemplate.json"),
        "contentVersion": "1.0.0.0",
        "parameters": {"launcher": {"type": "string"}},
        "resources": [
            {
                "type": "Microsoft.Resources/resourceGroups",
                "apiVersion": "2024-07-01",
                "name": names.group,
                "location": region,
            },
            *(_definition(names, *role) for role in roles.values()),
            {
                "type": "Microsoft.Authorization/roleAssignments",
                "apiVersion": "2022-04-01",
                "name": "[guid(parameters('launcher'), 'mlbroker launcher')]",
                "properties": {
                    "roleDefinitionId": _definition_id(names, roles["launcher"][0]),
                    "principalId": "[parameters('launcher')]",
                    # It may give one role to one identity, and no other right to anybody.
                    "condition": f"[concat({_condition(roles['run'][0])}, {guest}, '}}))')]",
                    "conditionVersion": "2.0",
                },
                "dependsOn": [inner, *_after(roles)],
            },
            {
                "type": "Microsoft.Resources/deployments",
                "apiVersion": "2022-09-01",
                "name": inner,
                "resourceGroup": names.group,
                "dependsOn": [names.group, *_after(roles)],
                "properties": {
                    "mode": "Incremental",
                    "expressionEvaluationOptions": {"scope": "inner"},
                    "parameters": {"launcher": {"value": "[parameters('launcher')]"}},
                    "template": _group(names, roles["data"][0], roles["guest"][0]),
                },
            },
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _group(names: Names, data: str, guest: str) -> dict[str, Any]:
    """All that stands in the region's own group."""
    identity = f"resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', '{GUEST_NAME}')"
    principal = f"reference({identity}, '2023-01-31').principalId"
    blobs = f"{names.account}/default"

    def one(kind: str, version: str, name: str, after: tuple[str, ...] = (), /, **more: Any) -> Any:
        found = {"type": kind, "apiVersion": version, "name": name, **more}
        return {**found, "dependsOn": list(after)} if after else found

    def given(role: str, to: str, name: str, after: tuple[str, ...] = (), **more: Any) -> Any:
        properties = {"roleDefinitionId": _definition_id(names, role), "principalId": to, **more}
        kind = "Microsoft.Authorization/roleAssignments"
        return one(kind, "2022-04-01", name, after, properties=properties)

    here: dict[str, Any] = {"location": names.region}
    return {
        "$schema": _SCHEMA.format("2019-04-01/deploymentTemplate.json"),
        "contentVersion": "1.0.0.0",
        "parameters": {"launcher": {"type": "string"}},
        "resources": [
            one(
                "Microsoft.ManagedIdentity/userAssignedIdentities",
                "2023-01-31",
                GUEST_NAME,
                **here,
            ),
            # Without rules of its own it lets in only what is in the same network.
            one(
                "Microsoft.Network/networkSecurityGroups",
                "2024-05-01",
                NAME,
                **here,
                properties={"securityRules": []},
            ),
            one(
                "Microsoft.Network/virtualNetworks",
                "2024-05-01",
                NAME,
                (f"Microsoft.Network/networkSecurityGroups/{NAME}",),
                **here,
                properties={
                    "addressSpace": {"addressPrefixes": [RANGE]},
                    "subnets": [
                        {
                            "name": NAME,
                            "properties": {
                                "addressPrefix": RANGE,
                                "networkSecurityGroup": {"id": names.firewall},
                            },
                        }
                    ],
                },
            ),
            one(
                "Microsoft.Storage/storageAccounts",
                "2023-05-01",
                names.account,
                **here,
                kind="StorageV2",
                sku={"name": "Standard_LRS"},
                properties={
                    "allowBlobPublicAccess": False,
                    # Signed in or not at all: there is no key to lose.
                    "allowSharedKeyAccess": False,
                    "minimumTlsVersion": "TLS1_2",
                    "supportsHttpsTrafficOnly": True,
                },
            ),
            one(
                "Microsoft.Storage/storageAccounts/blobServices/containers",
                "2023-05-01",
                f"{blobs}/{NAME}",
                (names.account,),
                properties={"publicAccess": "None"},
            ),
            one(
                "Microsoft.Storage/storageAccounts/managementPolicies",
                "2023-05-01",
                blobs,
                (names.account,),
                properties={"policy": {"rules": [_forgetting()]}},
            ),
            one(
                "Microsoft.KeyVault/vaults",
                "2023-07-01",
                names.vault,
                **here,
                properties={
                    "tenantId": "[subscription().tenantId]",
                    "sku": {"family": "A", "name": "standard"},
                    "enableRbacAuthorization": True,
                    "softDeleteRetentionInDays": 7,
                },
            ),
            given(data, "[parameters('launcher')]", "[guid(parameters('launcher'), 'data')]"),
            given(
                guest,
                f"[{principal}]",
                _role(names, f"guest of {names.region}"),
                (GUEST_NAME,),
                principalType="ServicePrincipal",
            ),
        ],
        "outputs": {"guest": {"type": "string", "value": f"[{principal}]"}},
    }


def _forgetting() -> dict[str, Any]:
    return {
        "name": "forget-runs",
        "type": "Lifecycle",
        "enabled": True,
        "definition": {
            "filters": {"blobTypes": ["blockBlob"], "prefixMatch": [f"{NAME}/runs/"]},
            "actions": {"baseBlob": {"delete": {"daysAfterModificationGreaterThan": KEEP_DAYS}}},
        },
    }


def _definition(
    names: Names, number: str, title: str, actions: tuple[str, ...], data: tuple[str, ...]
) -> dict[str, Any]:
    return {
        "type": "Microsoft.Authorization/roleDefinitions",
        "apiVersion": "2022-04-01",
        "name": number,
        "properties": {
            "roleName": f"{title} ({names.subscription[:8]})",
            "type": "CustomRole",
            "assignableScopes": [f"/subscriptions/{names.subscription}"],
            "permissions": [{"actions": list(actions), "dataActions": list(data)}],
        },
    }


def _after(roles: dict[str, Any]) -> list[str]:
    return [role[0] for role in roles.values()]


def _definition_id(names: Names, number: str) -> str:
    provider = "providers/Microsoft.Authorization/roleDefinitions"
    return f"/subscriptions/{names.subscription}/{provider}/{number}"


def _condition(role: str) -> str:
    """In the language of templates: a text that ends where the identity's number goes."""
    asked = "@Request[Microsoft.Authorization/roleAssignments:"
    text = (
        "((!(ActionMatches{''Microsoft.Authorization/roleAssignments/write''})) OR ("
        f"{asked}RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {{{role}}} AND "
        f"{asked}PrincipalId] ForAnyOfAnyValues:GuidEquals {{"
    )
    return f"'{text}'"


def _role(names: Names, what: str) -> str:
    return str(uuid.uuid5(_ROLES, f"{names.subscription} {what}"))


# Where somebody begins who names no region.
REGION = "eastus"
FORMS = {
    "template": Form(
        template,
        ".json",
        "az deployment sub create --location {region} --template-file {file} "
        "--parameters launcher=$(az ad signed-in-user show --query id --output tsv)",
    )
}
