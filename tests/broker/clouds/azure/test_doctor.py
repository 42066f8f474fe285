"""`doctor --cloud azure`: everything is tried for real, and nothing is left behind."""

import json
from dataclasses import replace

import pytest
from tests.support.azure.catalog import IMAGES, SUBSCRIPTION
from tests.support.azure.runs import intent
from tests.support.azure.server import StrictAzure

from mlbroker.broker.clouds.azure.cloud import AzureCloud
from mlbroker.broker.clouds.azure.doctor import checks, policies
from mlbroker.broker.clouds.azure.names import Names
from mlbroker.broker.clouds.azure.roles import LAUNCHER
from mlbroker.broker.clouds.checks import Check
from mlbroker.broker.clouds.interface import Denied, Payload
from mlbroker.broker.clouds.seats import LEASES


def found(world: StrictAzure, *regions: str) -> dict[str, Check]:
    return {check.name: check for check in checks(regions, world.clock.now())}


def test_a_good_subscription_passes_and_is_left_as_it_was(
    world: StrictAzure, cloud: AzureCloud
) -> None:
    result = found(world)
    assert {name for name, check in result.items() if not check.ok} == set()
    assert SUBSCRIPTION in result["credentials"].says
    assert {name.partition(":")[0] for name in result} == {"credentials", "eastus", "westeurope"}
    assert world.denied == []
    assert world.vault.names() == []
    assert set(world.stored()) <= {LEASES}
    assert cloud.leases("eastus") == {}
    assert not [name for name in world.arm.workflows.all if "doctor" in name]
    groups = world.arm.machines.groups.values()
    assert not [group.name for group in groups if "doctor" in group.name and not group.gone]


def test_a_region_without_its_network_says_what_to_do(world: StrictAzure) -> None:
    world.arm.networks.missing.add("eastus")
    check = found(world, "eastus")["eastus: network"]
    assert check.ok is False
    assert "init --cloud azure --region eastus" in str(check.hint)


def test_a_region_whose_machines_shared_one_identity_is_to_be_set_up_again(
    world: StrictAzure, cloud: AzureCloud, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {Names(SUBSCRIPTION, "eastus").identity("mlbroker-guest"): "1"}
    wanted = intent(world, run_id)
    cloud.arm_kill(wanted)
    for module in ("documents", "workflows"):
        monkeypatch.setattr(f"tests.support.azure.{module}.PRINCIPALS", before)
    check = found(world, "eastus")["eastus: machines' identities"]
    assert check.ok is False
    assert "mlbroker-end" in check.says
    assert "again where the region was set up by an older mlbroker" in str(check.hint)
    for ask in (lambda: cloud.arm_kill(wanted), lambda: cloud.create(wanted, Payload({}))):
        with pytest.raises(Denied, match="there is no identity mlbroker-"):
            ask()
    assert world.vms(wanted.token) == []


@pytest.mark.parametrize("told", [("Canonical", "ubuntu-24_04-lts", "server-arm64"),
                                  ("microsoft-dsvm", "ubuntu-hpc", "2204")])  # fmt: skip
def test_an_image_of_ours_that_comes_to_carry_a_plan_is_named(
    world: StrictAzure, monkeypatch: pytest.MonkeyPatch, told: tuple[str, str, str]
) -> None:
    monkeypatch.setitem(IMAGES, told, replace(IMAGES[told], plan=True))
    check = found(world, "eastus")["eastus: images"]
    assert (check.ok, check.says) == (False, f"{':'.join(told)}:latest has come to carry a plan")


def test_an_open_network_is_named(world: StrictAzure) -> None:
    world.arm.networks.open_to_all()
    assert "somebody-opened-it" in found(world, "eastus")["eastus: network"].says


def test_a_missing_right_is_found_before_a_run_needs_it(world: StrictAzure) -> None:
    action = "Microsoft.Logic/workflows/write"
    world.faults.errors[action] = (403, "AuthorizationFailed", f"may not {action}")
    check = found(world, "eastus")["eastus: kill switch"]
    assert check.ok is False
    assert action in check.says


def test_a_machine_that_nothing_will_end_is_named(
    world: StrictAzure, cloud: AzureCloud, run_id: str
) -> None:
    wanted = intent(world, run_id)
    cloud.arm_kill(wanted)
    cloud.create(wanted, Payload({"command": "true"}))
    assert found(world, "eastus")["eastus: machines"].ok
    del world.arm.workflows.all[wanted.token]
    check = found(world, "eastus")["eastus: machines"]
    assert (check.ok, wanted.token in check.says) == (False, True)
    cloud.terminate(wanted.token)
    world.clock.advance(120)


def test_a_used_up_quota_is_named(world: StrictAzure) -> None:
    world.arm.limits.quotas["lowPriorityCores", "eastus"] = 0
    check = found(world, "eastus")["eastus: quota lowPriorityCores"]
    assert (check.ok, check.says) == (False, "0 of 0 used")


def test_without_a_subscription_the_first_check_says_so(
    world: StrictAzure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_SUBSCRIPTION_ID")
    (check,) = checks((), world.clock.now())
    assert check.ok is False
    assert "AZURE_SUBSCRIPTION_ID" in str(check.hint)
    assert world.calls == []


def test_policies_are_the_rights_that_the_loopback_cloud_grants() -> None:
    documents = json.loads(policies(None, "eastus"))
    assert documents["launcher (actions, in the subscription)"] == list(LAUNCHER)
    assert len(documents) == 5
