"""The check-up finds each thing that can be missing, says what to do, and leaves nothing behind."""

import json

import pytest
from tests.support.gcp.runs import intent
from tests.support.gcp.server import StrictGcp

from mlbroker.broker.clouds.checks import Check
from mlbroker.broker.clouds.gcp import roles as gcp_roles
from mlbroker.broker.clouds.gcp.cloud import GcpCloud
from mlbroker.broker.clouds.gcp.doctor import checks, policies
from mlbroker.broker.clouds.interface import Denied, Payload

HERE = ("us-central1",)


def found(world: StrictGcp, *regions: str) -> dict[str, Check]:
    return {c.name: c for c in checks(regions or HERE, world.clock.now()) if "quota" not in c.name}


def test_a_project_that_is_set_up_is_well_and_stays_as_it_is(world: StrictGcp) -> None:
    before = len(world.vms())
    assert [check for check in found(world).values() if not check.ok] == []
    assert len(world.vms()) == before
    assert [key for _, key in world.storage.stored() if "doctor" in key] == []
    assert world.vault.names() == []
    assert world.denied == []


def test_all_regions_that_are_set_up_are_looked_at(world: StrictGcp) -> None:
    names = {name for name in {c.name for c in checks((), world.clock.now())} if ": bucket" in name}
    assert names == {f"{r}: bucket" for r in ("europe-west4", "us-central1", "us-east1")}


def test_a_region_without_set_up_is_told_what_to_do(world: StrictGcp) -> None:
    missing = found(world, "asia-east1")
    for what in ("bucket", "network", "machines' accounts"):
        assert missing[f"asia-east1: {what}"].ok is False
    hint = missing["asia-east1: network"].hint
    assert hint is not None
    assert "init --cloud gcp --region asia-east1" in hint


def test_a_missing_right_is_named(world: StrictGcp) -> None:
    world.missing.update({"compute.instances.create", "storage.objects.create"})
    rights = found(world)["rights"]
    assert rights.ok is False
    assert rights.says == "missing: compute.instances.create, storage.objects.create"
    assert found(world)["us-central1: bucket"].ok is False


def test_an_account_that_may_not_be_handed_over_is_told(world: StrictGcp) -> None:
    world.missing.add(gcp_roles.ACT_AS)
    account = found(world)["us-central1: machines' accounts"]
    assert account.ok is False
    assert account.hint is not None
    assert "roles/iam.serviceAccountUser" in account.hint


@pytest.mark.parametrize(
    ("action", "check"),
    [
        ("secretmanager.projects.secrets.create", "us-central1: secrets"),
        ("compute.firewalls.list", "us-central1: network"),
        ("compute.images.getFromFamily", "us-central1: image"),
        ("compute.instances.aggregatedList", "us-central1: machines"),
        ("cloudresourcemanager.projects.testIamPermissions", "rights"),
    ],
)
def test_each_refusal_is_found(world: StrictGcp, action: str, check: str) -> None:
    world.faults.errors[action] = (403, "forbidden", "not allowed")
    assert found(world)[check].ok is False


def test_bad_credentials_are_the_only_finding(world: StrictGcp) -> None:
    world.faults.errors["oauth2.token"] = (400, "invalid_grant", "Token has been revoked.")
    (only,) = checks(HERE, world.clock.now())
    assert (only.name, only.ok) == ("credentials", False)
    assert only.hint is not None
    assert "Sign in" in only.hint


def test_a_machine_that_outlived_its_end_is_found(
    world: StrictGcp, cloud: GcpCloud, run_id: str
) -> None:
    world.guest.job_s = None  # type: ignore[attr-defined]
    world.guest.timer = False  # type: ignore[attr-defined]
    world.faults.kill_works = False
    wanted = intent(world, run_id)
    machine = cloud.create(wanted, Payload({"command": "true"}))
    assert found(world)["us-central1: machines"].ok
    world.clock.advance(7200)
    late = found(world)["us-central1: machines"]
    assert late.ok is False
    assert wanted.token in late.says
    cloud.terminate(machine.id)
    world.clock.advance(60)


def test_a_machine_without_an_end_is_found(world: StrictGcp, cloud: GcpCloud, run_id: str) -> None:
    world.guest.job_s = None  # type: ignore[attr-defined]
    wanted = intent(world, run_id)
    machine = cloud.create(wanted, Payload({"command": "true"}))
    (vm,) = world.vms(wanted.token)
    del vm.body["scheduling"]["terminationTime"]
    bare = found(world)["us-central1: machines"]
    assert bare.ok is False
    assert "without a kill switch" in bare.says
    cloud.terminate(machine.id)
    world.clock.advance(60)


def test_quotas_of_nothing_are_told(world: StrictGcp) -> None:
    world.gce.limits.quotas["GPUS_ALL_REGIONS", "*"] = 0
    world.gce.limits.quotas["PREEMPTIBLE_CPUS", "us-central1"] = 0
    none = [c for c in checks(HERE, world.clock.now()) if "quota" in c.name and c.ok is None]
    assert [c.says for c in none] == [
        "PREEMPTIBLE_CPUS: 0, 0 in use",
        "GPUS_ALL_REGIONS: 0, 0 in use",
    ]
    assert all("Quotas & System Limits" in (c.hint or "") for c in none)


def test_the_least_rights_are_printed() -> None:
    document = json.loads(policies(None, "europe-west4"))
    launcher, act_as, bill, machines, in_the_project, on_the_bucket = document.values()
    assert launcher == list(gcp_roles.LAUNCHER)
    assert act_as == ["iam.serviceAccounts.actAs"]
    assert bill == ["roles/bigquery.dataViewer"]
    assert machines == list(gcp_roles.GUEST)
    assert 'startsWith("mlb-europe-west4-00-")' in in_the_project
    assert "objects/runs/00/" in on_the_bucket


def test_a_region_whose_machines_shared_one_account_is_to_be_set_up_again(
    world: StrictGcp, cloud: GcpCloud, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {"mlb-us-central1@loopback-project.iam.gserviceaccount.com"}
    for module in ("rights", "wishes"):
        monkeypatch.setattr(f"tests.support.gcp.{module}.ACCOUNTS", before)
    accounts = found(world)["us-central1: machines' accounts"]
    assert accounts.ok is False
    assert "Apply it again" in (accounts.hint or "")
    with pytest.raises(Denied, match="an account of their own") as refused:
        cloud.create(intent(world, run_id), Payload({"command": "true"}))
    assert refused.value.made_nothing


def test_taken_seats_are_counted(world: StrictGcp, cloud: GcpCloud, run_id: str) -> None:
    for number in range(16):
        wanted = intent(world, f"{run_id}-{number}")
        cloud.take_seat(wanted)
        left = 15 - number
        seats = found(world)["us-central1: seats"]
        assert (seats.ok, seats.says) == (
            (True, f"{left} of 16 free") if left else (False, "all 16 are taken")
        )
