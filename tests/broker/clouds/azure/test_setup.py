"""The set-up that `init` writes is what the launcher looks for: closed, bound, of one region."""

import json
from typing import Any

import pytest
from tests.support.azure.catalog import SUBSCRIPTION
from tests.support.azure.schema import wrong_network

from mlbroker.broker.app.account import setup_of
from mlbroker.broker.clouds.azure.kill import role_id
from mlbroker.broker.clouds.azure.names import ENDER, Names, seat_identity
from mlbroker.broker.clouds.azure.roles import GUEST as GUEST_ACTIONS
from mlbroker.broker.clouds.azure.roles import GUEST_DATA, LAUNCHER, LAUNCHER_DATA
from mlbroker.broker.clouds.azure.setup import template
from mlbroker.broker.clouds.interface import Denied
from mlbroker.broker.clouds.seats import SEATS

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
        ("Microsoft.Network/virtualNetworks", "mlbroker"),
        ("Microsoft.Network/networkSecurityGroups", "mlbroker"),
        (
            "Microsoft.Storage/storageAccounts/blobServices/containers",
            f"{NAMES.account}/default/mlbroker",
        ),
    ):
        assert [one["name"] for one in of(resources, kind)] == [name]


def test_its_network_fits_azures_own_library(resources: list[dict[str, Any]]) -> None:
    for kind, model in (
        ("networkSecurityGroups", "NetworkSecurityGroup"),
        ("virtualNetworks", "VirtualNetwork"),
    ):
        (one,) = of(resources, f"Microsoft.Network/{kind}")
        body = {k: v for k, v in one.items() if k in ("location", "properties")}
        assert set(one) - set(body) <= {"type", "apiVersion", "name", "dependsOn"}
        assert wrong_network(body, model) is None


def test_each_seat_has_an_identity_and_a_vault(resources: list[dict[str, Any]]) -> None:
    identities = of(resources, "Microsoft.ManagedIdentity/userAssignedIdentities")
    assert [one["name"] for one in identities] == [ENDER, *map(seat_identity, SEATS)]
    vaults = [one["name"] for one in of(resources, "Microsoft.KeyVault/vaults")]
    assert vaults == [NAMES.vault(seat) for seat in SEATS]
    assert len(set(vaults)) == len(SEATS)


def test_a_seat_has_rights_on_its_vault_and_in_its_folder_alone(
    resources: list[dict[str, Any]],
) -> None:
    given = [
        one
        for one in of(resources, "Microsoft.Authorization/roleAssignments")
        if "launcher" not in one["properties"]["principalId"]
    ]
    assert len(given) == 2 * len(SEATS)
    assert len({one["name"] for one in given}) == len(given)
    for seat, (vault, container) in zip(
        SEATS, zip(given[::2], given[1::2], strict=True), strict=True
    ):
        for one in (vault, container):
            assert f"'{seat_identity(seat)}'" in one["properties"]["principalId"]
        assert vault["scope"].endswith(f"/{NAMES.vault(seat)}")
        assert container["scope"].endswith("/containers/mlbroker")
        condition = container["properties"]["condition"]
        assert f"blobs:path] StringLike 'runs/{seat}/*'" in condition
        assert condition.count("(") == condition.count(")")
        # All that the role may do with blobs is under the condition.
        for action in (a for a in GUEST_DATA if "/blobs/" in a):
            assert f"!(ActionMatches{{'{action}'}})" in condition


def test_no_right_is_called_as_one_of_another_region(monkeypatch: pytest.MonkeyPatch) -> None:
    # A name stands for one right in the whole subscription: a second one would be refused. So
    # would a second right of somebody to a role there, with another condition.
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", SUBSCRIPTION)
    kind = "Microsoft.Authorization/roleAssignments"
    wholes = [json.loads(template(region))["resources"] for region in ("eastus", "westeurope")]
    here, there = ({one["name"] for one in of(whole, kind)} for whole in wholes)
    assert not here & there
    (mine,), (others,) = ([one for one in whole if one["type"] == kind] for whole in wholes)
    assert mine["properties"]["condition"] != others["properties"]["condition"]
    assert mine["properties"]["roleDefinitionId"] != others["properties"]["roleDefinitionId"]


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
    assert condition.endswith("outputs.identities.value, '}))')]")
    (inner,) = [one for one in resources if one["type"] == "Microsoft.Resources/deployments"]
    identities = inner["properties"]["template"]["outputs"]["identities"]["value"]
    assert identities.count("principalId") == 1 + len(SEATS)
    # Azure takes expressions of so many characters.
    assert len(identities) < 24_576


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
