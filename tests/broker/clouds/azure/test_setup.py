"""The set-up that `init` writes is what the launcher looks for: closed, bound, of one region."""

import json
from typing import Any

import pytest
from tests.support.azure.catalog import SUBSCRIPTION

from mlbroker.broker.app.account import setup_of
from mlbroker.broker.clouds.azure.kill import role_id
from mlbroker.broker.clouds.azure.names import GUEST, Names
from mlbroker.broker.clouds.azure.roles import GUEST as GUEST_ACTIONS
from mlbroker.broker.clouds.azure.roles import GUEST_DATA, LAUNCHER, LAUNCHER_DATA
from mlbroker.broker.clouds.azure.setup import template
from mlbroker.broker.clouds.interface import Denied

NAMES = Names(SUBSCRIPTION, "eastus")


@pytest.fixture
def resources(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", SUBSCRIPTION)
    found: list[dict[str, Any]] = json.loads(template("eastus"))["resources"]
    return found


def of(resources: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    (inner,) = [one for one in resources if one["type"] == "Microsoft.Resources/deployments"]
    both = resources + inner["properties"]["template"]["resources"]
    return [one for one in both if one["type"] == kind]


def test_it_makes_what_the_launcher_asks_for(resources: list[dict[str, Any]]) -> None:
    for kind, name in (
        ("Microsoft.Resources/resourceGroups", NAMES.group),
        ("Microsoft.Storage/storageAccounts", NAMES.account),
        ("Microsoft.KeyVault/vaults", NAMES.vault),
        ("Microsoft.ManagedIdentity/userAssignedIdentities", GUEST),
        ("Microsoft.Network/virtualNetworks", "mlbroker"),
        ("Microsoft.Network/networkSecurityGroups", "mlbroker"),
        (
            "Microsoft.Storage/storageAccounts/blobServices/containers",
            f"{NAMES.account}/default/mlbroker",
        ),
    ):
        assert [one["name"] for one in of(resources, kind)] == [name]


def test_nobody_comes_in(resources: list[dict[str, Any]]) -> None:
    (firewall,) = of(resources, "Microsoft.Network/networkSecurityGroups")
    assert firewall["properties"]["securityRules"] == []
    (account,) = of(resources, "Microsoft.Storage/storageAccounts")
    assert account["properties"]["allowBlobPublicAccess"] is False
    assert account["properties"]["allowSharedKeyAccess"] is False


def test_roles_hold_exactly_the_rights_that_are_used(resources: list[dict[str, Any]]) -> None:
    roles = of(resources, "Microsoft.Authorization/roleDefinitions")
    held = {
        (tuple(p["actions"]), tuple(p["dataActions"]))
        for one in roles
        for p in one["properties"]["permissions"]
    }
    assert held == {
        (LAUNCHER, ()),
        ((), LAUNCHER_DATA),
        ((), GUEST_DATA),
        (GUEST_ACTIONS, ()),
    }
    assert role_id(SUBSCRIPTION) in {one["name"] for one in roles}


def test_the_launcher_can_give_only_the_machines_role(resources: list[dict[str, Any]]) -> None:
    conditions = [
        one["properties"]["condition"]
        for one in resources
        if one["type"] == "Microsoft.Authorization/roleAssignments"
    ]
    (condition,) = conditions
    assert (
        f"RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {{{role_id(SUBSCRIPTION)}}}" in condition
    )
    assert condition.count("(") == condition.count(")")
    assert condition.endswith("outputs.guest.value, '}))')]")


def test_init_writes_it_and_says_how_to_apply_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", SUBSCRIPTION)
    setup = setup_of("azure", "westeurope", None)
    assert setup.file == "mlbroker-azure-westeurope.json"
    assert Names(SUBSCRIPTION, "westeurope").account in setup.text
    assert setup.apply.startswith("az deployment sub create --location westeurope ")


def test_without_a_subscription_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_SUBSCRIPTION_ID", raising=False)
    with pytest.raises(Denied, match="no subscription"):
        setup_of("azure", None, None)
