"""Each machine touches its own folder only: what its role refuses, and what it waits for."""

import json
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from urllib.request import Request, urlopen

import pytest
from botocore.exceptions import ClientError
from tests.support.aws.account import ACCOUNT, client_of
from tests.support.aws.machines import Vm
from tests.support.aws.runs import intent
from tests.support.aws.server import StrictAws
from tests.support.loopback_guests import Script

from mlbroker.broker.clouds.aws import guest
from mlbroker.broker.clouds.aws.calls import Calls
from mlbroker.broker.clouds.aws.cloud import AwsCloud
from mlbroker.broker.clouds.aws.doctor import checks
from mlbroker.broker.clouds.interface import Denied, Intent, Payload, Unclear

BUCKET = f"mlbroker-{ACCOUNT}-us-east-1"
JOB = Payload({"command": "true"}, secrets={"KEY": "geheim-4711"})


@pytest.fixture
def two(world: StrictAws, cloud: AwsCloud, run_id: str) -> tuple[Vm, Vm]:
    """The machines of two runs."""
    found = []
    for name in ("a", "b"):
        wanted = intent(world, f"{run_id}{name}")
        cloud.create(wanted, JOB)
        found += world.vms(wanted.token)
    return found[0], found[1]


def bucket_as(world: StrictAws, vm: Vm) -> Any:
    """The bucket's service, asked with a machine's own credentials."""
    return client_of("s3", vm.region, world.url, key=f"guest-{vm.id}")


def refused(call: Any, **wanted: Any) -> bool:
    with pytest.raises(ClientError) as error:
        call(**wanted)
    return error.value.response["Error"]["Code"] in _NO


_NO = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")


def test_a_machine_may_use_its_own_folder(world: StrictAws, two: tuple[Vm, Vm]) -> None:
    mine = two[0]
    s3, key = bucket_as(world, mine), f"{world.folder(mine)}/0/report.json"
    s3.put_object(Bucket=BUCKET, Key=key, Body=b"{}")
    assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"{}"
    s3.delete_object(Bucket=BUCKET, Key=key)
    assert refused(s3.get_object, Bucket=BUCKET, Key=key), "it may not list, so it is not told"


def test_a_machine_may_use_no_other_folder(world: StrictAws, two: tuple[Vm, Vm]) -> None:
    mine, other = two
    s3 = bucket_as(world, mine)
    theirs = [key for key in world.stored() if other.id in key or other.token in key]
    assert {key.rpartition("/")[2] for key in theirs} == {
        "guest.pyz", "spec.json", "machines.json", "links.json", "secrets.json",
    }  # fmt: skip
    own_run = [key for key in world.stored() if mine.token in key]
    new = [f"{world.folder(other)}/stop", f"runs/{other.token}/0/report.json", "machines/x", "x",
           f"{world.folder(mine)}0/x", f"runs/{other.token}/{world.folder(mine)}/x"]  # fmt: skip
    for key in [*theirs, *own_run, *new]:
        assert refused(s3.get_object, Bucket=BUCKET, Key=key), key
        assert refused(s3.put_object, Bucket=BUCKET, Key=key, Body=b"x"), key
        assert refused(s3.delete_object, Bucket=BUCKET, Key=key), key
        assert refused(s3.create_multipart_upload, Bucket=BUCKET, Key=key), key
    assert refused(
        s3.delete_objects, Bucket=BUCKET, Delete={"Objects": [{"Key": k} for k in theirs]}
    )
    for prefix in ("", "runs/", "machines/", world.folder(other), world.folder(mine)):
        assert refused(s3.list_objects_v2, Bucket=BUCKET, Prefix=prefix)
    assert refused(s3.list_buckets)
    elsewhere = client_of("s3", "us-west-2", world.url, key=f"guest-{mine.id}")
    for bucket in (BUCKET, BUCKET.replace("us-east-1", "us-west-2")):
        assert refused(elsewhere.get_object, Bucket=bucket, Key=f"{world.folder(mine)}/links.json")
    assert set(theirs) <= set(world.stored())


def test_a_machine_may_use_no_other_service(world: StrictAws, two: tuple[Vm, Vm]) -> None:
    key = f"guest-{two[0].id}"
    ssm = client_of("ssm", "us-east-1", world.url, key)
    assert refused(ssm.get_parameters_by_path, Path="/mlbroker")
    assert refused(ssm.put_parameter, Name="/mlbroker/x", Value="x", Type="String")
    ec2 = client_of("ec2", "us-east-1", world.url, key)
    assert refused(ec2.terminate_instances, InstanceIds=[two[1].id])
    assert refused(ec2.describe_instances)
    assert two[1].works


def links_of(world: StrictAws, vm: Vm) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(world.get_object(vm, "links.json") or b"{}")
    return found


def test_what_a_machine_is_lent_is_its_own_runs_and_soon_returned(
    world: StrictAws, cloud: AwsCloud, run_id: str
) -> None:
    wanted = intent(world, run_id, nodes=3)
    cloud.create(wanted, JOB)
    vms = sorted(world.vms(wanted.token), key=lambda vm: vm.index)
    for vm in vms:
        links = links_of(world, vm)
        others = [peer for peer in vms if peer is not vm]
        assert {name: _key_of(link) for name, link in links["read"].items()} == {
            **{
                name: f"runs/{wanted.token}/{name}"
                for name in ("guest.pyz", "spec.json", "bundle.tar.gz", "restore.tar")
            },
            **{f"{p.index}/address": f"{world.folder(p)}/{p.index}/address" for p in others},
        }
        assert [_key_of(link) for link in links["stop"]] == [
            f"{world.folder(peer)}/stop" for peer in others
        ]
        assert {_good_for_s(link) for link in links["read"].values()} == {3600}
        assert {_good_for_s(link) for link in links["stop"]} == {3600}, "as long as it lives"


def test_a_link_is_good_for_what_it_was_signed_for_alone(
    world: StrictAws, two: tuple[Vm, Vm]
) -> None:
    mine, other = two
    link = links_of(world, mine)["read"]["spec.json"]
    with urlopen(link) as answer:
        assert json.load(answer)["token"] == mine.token
    for wrong in (
        link.replace(mine.token, other.token),
        link.replace("X-Amz-Expires=3600", "X-Amz-Expires=360000"),
        Request(link, b"{}", method="PUT"),
    ):
        with pytest.raises(OSError, match="403"):
            urlopen(wrong)


def _key_of(link: str) -> str:
    return unquote(urlsplit(link).path).removeprefix(f"/{BUCKET}/")


def _good_for_s(link: str) -> int:
    return int(parse_qs(urlsplit(link).query)["X-Amz-Expires"][0])


@pytest.fixture
def untold(world: StrictAws, cloud: AwsCloud, run_id: str) -> Intent:
    """Its launcher got no answer, and was never seen again."""
    wanted = intent(world, run_id)
    world.faults.lost_after["RunInstances"] = 1
    with pytest.raises(Unclear):
        cloud.create(wanted, Payload({"command": "true"}))
    return wanted


def test_a_machine_that_nobody_tells_what_to_do_goes(world: StrictAws, untold: Intent) -> None:
    (vm,) = world.vms(untold.token)
    world.clock.advance(guest.LINKS_WITHIN_S + 60)
    assert vm.ends_at is not None
    assert world.stored() == [key for key in world.stored() if vm.id not in key]


def test_whoever_looks_next_tells_it(world: StrictAws, untold: Intent, calls: Calls) -> None:
    assert isinstance(world.guest, Script)
    world.clock.advance(60)
    later = AwsCloud(calls)
    assert later.report(untold).end is None
    world.clock.advance(60 + (world.guest.job_s or 0))
    assert AwsCloud(calls).report(untold).end is not None


def test_results_are_found_long_after_ec2_forgot_their_machine(
    world: StrictAws, cloud: AwsCloud, calls: Calls, run_id: str
) -> None:
    wanted = intent(world, run_id, nodes=2)
    machine = cloud.create(wanted, JOB)
    for vm in world.vms(wanted.token):
        world.put_object(vm, f"{vm.index}/log/000000000000000", f"rank {vm.index}".encode())
    cloud.terminate(machine.id)
    world.clock.advance(86400)
    later = AwsCloud(calls)
    assert later.status(machine.id) is None
    assert later.read_log(wanted, 0, rank=1) == b"rank 1"
    later.discard(wanted)
    names = [wanted.token, *(vm.id for vm in world.vms(wanted.token))]
    assert [key for key in world.stored() if any(name in key for name in names)] == []


def test_a_stop_reaches_every_machine(world: StrictAws, cloud: AwsCloud, run_id: str) -> None:
    wanted = intent(world, run_id, nodes=2)
    cloud.create(wanted, JOB)
    cloud.stop_job(wanted, "stopped")
    assert {world.get_object(vm, "stop") for vm in world.vms(wanted.token)} == {b"stopped"}


def test_the_machines_program_waits_for_its_links_and_then_gives_up(
    world: StrictAws, untold: Intent, cloud: AwsCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    (vm,) = world.vms(untold.token)
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{world.url}/_machine/{vm.id}")
    monkeypatch.setattr(guest, "LINKS_WITHIN_S", 0.0)
    machine, spec = guest.Aws(vm.region, BUCKET), f"runs/{untold.token}/spec.json"
    with pytest.raises(SystemExit, match="nobody told this machine what to do"):
        machine.get(spec)
    cloud.report(untold)
    assert json.loads(machine.get(spec) or b"")["token"] == untold.token
    assert machine.get(f"runs/{untold.token}/stop") is None
    cloud.stop_job(untold, "stopped")
    assert machine.get(f"runs/{untold.token}/stop") == b"stopped"


def test_an_account_that_an_earlier_version_set_up_is_told_what_to_apply_again(
    spoiled: StrictAws, cloud: AwsCloud, run_id: str
) -> None:
    iam = client_of("iam", "us-east-1", spoiled.url)
    new, old = "mlbroker-machine-us-east-1", "mlbroker-guest-us-east-1"
    iam.remove_role_from_instance_profile(InstanceProfileName=new, RoleName=new)
    iam.delete_instance_profile(InstanceProfileName=new)
    iam.create_instance_profile(InstanceProfileName=old)
    wanted = intent(spoiled, run_id)
    with pytest.raises(Denied, match=r"mlbroker init --cloud aws.* apply it again") as no:
        cloud.create(wanted, JOB)
    assert no.value.made_nothing
    assert spoiled.vms(wanted.token) == []
    found = {c.name: c for c in checks(("us-east-1",), spoiled.clock.now())}
    launch = found["us-east-1: launch"]
    assert launch.ok is False
    assert "apply it again" in (launch.hint or "")
