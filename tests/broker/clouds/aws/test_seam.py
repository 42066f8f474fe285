"""What the launcher does with each answer of EC2, on the strict server."""

import base64
import itertools
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.support.aws.account import ACCOUNT, client_of
from tests.support.aws.runs import AwsRuns, intent
from tests.support.aws.server import StrictAws

from mlbroker.broker.clouds.aws.calls import translate
from mlbroker.broker.clouds.aws.cloud import AwsCloud
from mlbroker.broker.clouds.interface import (
    Denied,
    NoCapacity,
    NoQuota,
    Payload,
    Unclear,
    Unfit,
)
from mlbroker.broker.errors import CloudError

JOB = Payload({"command": "true"})
CAP = "0.8"
LOW = Decimal("0.001")
COUNT = itertools.count()


def test_a_token_used_with_other_parameters_gives_the_machine_there_is(
    world: StrictAws, cloud: AwsCloud, run_id: str
) -> None:
    wanted = intent(world, run_id)
    machine = cloud.create(wanted, JOB)
    other = intent(
        world, run_id, disk_gb=80, intended_at=wanted.intended_at, kill_at=wanted.kill_at
    )
    assert cloud.create(other, JOB).id == machine.id
    assert len(world.vms(wanted.token)) == 1


@pytest.mark.parametrize(
    ("prepare", "market", "kind", "says"),
    [
        (lambda w: w.ec2.capacity.update({("m5.large", "*", "*"): 0}), "spot", NoCapacity, "zone"),
        (lambda w: w.ec2.quota_vcpus.update(on_demand=0), "on_demand", NoQuota, "Service Quotas"),
        (lambda w: w.ec2.quota_vcpus.update(spot=0), "spot", NoQuota, "spot quota"),
        (
            lambda w: w.ec2.ask("us-east-1a", "m5.large", 99),
            "spot",
            NoCapacity,
            "lower than the minimum",
        ),
    ],
)
def test_each_no_is_told_apart(
    world: StrictAws,
    cloud: AwsCloud,
    run_id: str,
    prepare: object,
    market: str,
    kind: type[CloudError],
    says: str,
) -> None:
    prepare(world)  # type: ignore[operator]
    wanted = intent(world, run_id, market=market)
    with pytest.raises(kind, match=f"(?i){says}") as refused:
        cloud.create(wanted, JOB)
    assert refused.value.made_nothing
    assert world.vms(wanted.token) == []
    # Asked once: a repeated request could hide that an earlier one made a machine.
    assert [action for _, _, action in world.calls].count("RunInstances") == 1


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("Unsupported", "not supported in your requested Availability Zone (x)", NoCapacity),
        ("Unsupported", "The requested configuration is not supported.", Unfit),
        ("InvalidParameterCombination", "does not support enhanced networking", Unfit),
        ("VolumeTypeNotAvailableInZone", "no", Unfit),
    ],
)
def test_a_no_to_the_type_leads_to_another_zone_or_type(
    world: StrictAws, cloud: AwsCloud, run_id: str, code: str, message: str, kind: type[CloudError]
) -> None:
    world.faults.errors["RunInstances"] = (code, message)
    with pytest.raises(kind) as refused:
        cloud.create(intent(world, run_id), JOB)
    assert refused.value.made_nothing


@pytest.mark.parametrize("code", ["403", "", "502"])
def test_an_answer_that_bears_no_code_of_ec2s_proves_nothing(code: str) -> None:
    assert isinstance(translate({"Code": code, "Message": "Forbidden by proxy"}, "aws"), Unclear)


def test_the_bid_is_the_maximum_that_was_reserved(
    world: StrictAws, cloud: AwsCloud, run_id: str
) -> None:
    price = Decimal("0.01")
    world.ec2.ask("us-east-1a", "m5.large", 0.012)
    bid = {"market": "spot", "price_per_hour_usd": price}
    wanted = intent(world, run_id, **bid, max_price_per_hour_usd=Decimal("0.0125"))
    cloud.terminate(cloud.create(wanted, JOB).id)
    with pytest.raises(Unfit, match="no spot bid"):
        cloud.create(intent(world, f"{run_id}b", market="spot", price_per_hour_usd=LOW), JOB)


def test_capacity_and_a_reclaimed_machine_lead_on_to_the_next_place(
    runs: AwsRuns, run_id: str
) -> None:
    world = runs.world
    world.ec2.capacity["m5.large", "us-east-1a", "*"] = 0
    world.ec2.preempt_after_s = 100
    world.guest.job_s = 200
    run = runs.launch(run_id, CAP)
    assert [(a.zone or a.region, a.why) for a in run.attempts] == [
        ("us-east-1a", "no_capacity"),
        ("us-east-1b", "preempted"),
        ("us-west-2", "finished"),
    ]
    assert run.outcome == "succeeded"
    runs.check(run_id, cap=CAP)
    told = [f.body.get("charged_price") for f in runs.ledger.facts() if f.kind == "terminated"]
    assert told == ["paid", "frozen"], "where the launch was in no zone, no zone's price is told"
    assert float(run.spent_usd) == pytest.approx(runs.billed_usd(run_id), rel=0.2)


def test_nothing_left_anywhere_settles_at_nothing(runs: AwsRuns, run_id: str) -> None:
    runs.world.ec2.capacity["*", "*", "*"] = 0
    run = runs.launch(run_id)
    assert (run.outcome, run.spent_usd) == ("not_launched", 0)
    assert {attempt.why for attempt in run.attempts} == {"no_capacity"}
    assert runs.vms(run_id) == []
    runs.check(run_id)


def test_a_used_token_without_a_machine_to_be_seen_is_unclear(
    world: StrictAws, cloud: AwsCloud, run_id: str
) -> None:
    world.faults.errors["RunInstances"] = ("IdempotentInstanceTerminated", "it was used")
    with pytest.raises(Unclear) as unclear:
        cloud.create(intent(world, run_id), JOB)
    assert not unclear.value.made_nothing


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"instance_type": "m5.enormous"}, "InvalidInstanceType"),
        ({"image_id": "ami-0123456789abcdef0"}, "resources.image_id"),
        ({"image_id": "docker:python"}, "not an image of AWS"),
        ({"instance_type": "m6g.large", "image_id": "ami-0d27e0fb3bac4d724"}, "is arm64"),
        ({"disk_gb": 5}, "disk_size"),
        ({"zone": "us-east-1z"}, "no subnet in us-east-1z"),
    ],
)
def test_wrong_wishes_are_refused_with_the_field_to_change(
    world: StrictAws, cloud: AwsCloud, run_id: str, changes: dict[str, object], says: str
) -> None:
    wanted = intent(world, run_id, **changes)
    with pytest.raises(CloudError) as refused:
        cloud.create(wanted, JOB)
    assert says in str(refused.value)
    assert not isinstance(refused.value, Unclear)
    assert world.vms(wanted.token) == []


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("ExpiredToken", "Sign in to AWS again"),
        ("AuthFailure", "not switched on"),
        ("UnauthorizedOperation", "doctor --cloud aws"),
        ("OptInRequired", "--region"),
    ],
)
def test_refused_credentials_say_what_to_do(
    world: StrictAws, cloud: AwsCloud, run_id: str, code: str, says: str
) -> None:
    world.faults.errors["RunInstances"] = (code, "no")
    with pytest.raises(Denied) as refused:
        cloud.create(intent(world, run_id), JOB)
    assert says in str(refused.value)


def test_a_missing_bucket_says_so_and_leaves_nothing(
    spoiled: StrictAws, cloud: AwsCloud, run_id: str
) -> None:
    s3 = client_of("s3", "us-east-1", spoiled.url)
    bucket = f"mlbroker-{ACCOUNT}-us-east-1"
    for kept in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
        s3.delete_object(Bucket=bucket, Key=kept["Key"])
    s3.delete_bucket(Bucket=bucket)
    wanted = intent(spoiled, run_id)
    with pytest.raises(Denied, match="no such bucket"):
        cloud.create(wanted, Payload({"command": "true"}, secrets={"A": "geheim"}))
    assert spoiled.secrets() == []
    assert spoiled.vms(wanted.token) == []


def test_a_missing_role_says_so_and_leaves_nothing(
    spoiled: StrictAws, cloud: AwsCloud, run_id: str
) -> None:
    iam = client_of("iam", "us-east-1", spoiled.url)
    profile, role = "mlbroker-machine-us-east-1", "mlbroker-kill-us-east-1"
    iam.remove_role_from_instance_profile(InstanceProfileName=profile, RoleName=profile)
    iam.delete_instance_profile(InstanceProfileName=profile)
    iam.delete_role_policy(RoleName=role, PolicyName="mlbroker")
    iam.delete_role(RoleName=role)
    wanted = intent(spoiled, run_id)
    with pytest.raises(Denied, match="doctor --cloud aws"):
        cloud.arm_kill(wanted)
    with pytest.raises(Denied, match="init --cloud aws"):
        cloud.create(wanted, Payload({"command": "true"}, secrets={"A": "geheim"}))
    assert spoiled.secrets() == []
    s3 = client_of("s3", "us-east-1", spoiled.url)
    assert s3.list_objects_v2(Bucket=f"mlbroker-{ACCOUNT}-us-east-1")["KeyCount"] == 0


def test_secrets_of_a_machine_that_never_read_them_go_with_its_kill_switch(
    world: StrictAws, cloud: AwsCloud, run_id: str
) -> None:
    wanted = intent(world, run_id)
    cloud.arm_kill(wanted)
    machine = cloud.create(wanted, Payload({"command": "true"}, secrets={"A": "geheim"}))
    kept = f"{world.folder(*world.vms(wanted.token))}/secrets.json"
    assert kept in world.secrets()
    cloud.terminate(machine.id)
    cloud.disarm_kill(wanted)
    assert kept not in world.secrets()


def test_without_credentials_nothing_is_tried(
    world: StrictAws, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(Denied, match="no credentials"):
        AwsCloud().create(intent(world, run_id), JOB)
    assert world.calls == []


def test_the_image_is_told_by_the_hardware(world: StrictAws, cloud: AwsCloud, run_id: str) -> None:
    ec2 = client_of("ec2", "us-east-1", world.url)
    for number, (kind, arch, name) in enumerate(
        [
            ("m5.large", "x86_64", "al2023-ami"),
            ("m6g.large", "arm64", "al2023-ami"),
            ("g5.xlarge", "x86_64", "Deep Learning"),
            ("g5g.xlarge", "arm64", "Deep Learning"),
        ]
    ):
        wanted = intent(world, f"{run_id}{number}", instance_type=kind)
        cloud.create(wanted, JOB)
        (vm,) = world.vms(wanted.token)
        (launched,) = ec2.describe_instances(InstanceIds=[vm.id])["Reservations"]
        image_id = launched["Instances"][0]["ImageId"]
        image = ec2.describe_images(ImageIds=[image_id])["Images"][0]
        assert image["Architecture"] == arch
        assert image["Name"].startswith(name)


BURSTABLE = [f"{family}.{size}" for family in ("t2", "t3", "t3a", "t4g") for size in (
    "nano", "micro", "small", "medium", "large", "xlarge", "2xlarge")]  # fmt: skip


@settings(max_examples=12, deadline=None, phases=[Phase.generate])
@given(kind=st.sampled_from(BURSTABLE), market=st.sampled_from(["spot", "on_demand"]),
       hours=st.floats(0.02, 48))  # fmt: skip
def test_a_burstable_machine_bills_its_price_and_no_credits(
    server: StrictAws, calls: Any, kind: str, market: str, hours: float
) -> None:
    """EC2 launches T3, T3a and T4g as `unlimited`: full use is then billed beside the price."""
    server.calm()
    server.ec2.ask("us-east-1a", kind, 1.0)
    wanted = intent(server, f"burst{next(COUNT)}", instance_type=kind, market=market)
    AwsCloud(calls).create(wanted, JOB)
    (vm,) = server.vms(wanted.token)
    server.clock.advance(hours * 3600)
    server.ec2.end(vm)
    stood_h = vm.billed_s(server.clock.now()) / 3600
    assert server.ec2.billed_usd([vm], 1.0) == pytest.approx(max(stood_h, 1 / 60))


def test_a_credit_specification_is_for_burstable_machines_alone(
    world: StrictAws, run_id: str
) -> None:
    ec2 = client_of("ec2", "us-east-1", world.url)
    with pytest.raises(ClientError, match="does not support"):
        ec2.run_instances(
            InstanceType="m5.large", ImageId="ami-1", MinCount=1, MaxCount=1,
            CreditSpecification={"CpuCredits": "standard"},
        )  # fmt: skip


def test_an_open_security_group_is_refused(world: StrictAws, cloud: AwsCloud, run_id: str) -> None:
    ec2 = client_of("ec2", "us-east-1", world.url)
    (group,) = ec2.describe_security_groups(
        Filters=[{"Name": "group-name", "Values": ["mlbroker"]}]
    )["SecurityGroups"]
    rule = {
        "GroupId": group["GroupId"],
        "IpPermissions": [
            {
                "IpProtocol": "tcp",
                "FromPort": 22,
                "ToPort": 22,
                "IpRanges": [{"CidrIp": "0.0.0.0/0"}],
            }
        ],
    }
    ec2.authorize_security_group_ingress(**rule)
    try:
        with pytest.raises(Denied, match="lets others in"):
            cloud.create(intent(world, run_id), JOB)
    finally:
        ec2.revoke_security_group_ingress(**rule)


def test_no_secret_is_in_any_request_but_the_one_to_the_machines_own_folder(
    world: StrictAws, cloud: AwsCloud, run_id: str
) -> None:
    wanted = intent(world, run_id)
    cloud.arm_kill(wanted)
    cloud.create(wanted, Payload({"command": "true"}, secrets={"HF_TOKEN": "geheim-4711"}))
    holding = [r for r in world.requests if b"geheim-4711" in _unpacked(r.body)]
    assert [(r.action, r.objects) for r in holding] == [
        ("PutObject", [f"{world.folder(*world.vms(wanted.token))}/secrets.json"])
    ]
    cloud.discard(wanted)
    (vm,) = world.vms(wanted.token)
    assert [key for key in world.stored() if wanted.token in key or vm.id in key] == []


def test_disarming_what_is_not_armed_is_no_error(
    world: StrictAws, cloud: AwsCloud, run_id: str
) -> None:
    wanted = intent(world, run_id)
    cloud.disarm_kill(wanted)
    cloud.arm_kill(wanted)
    cloud.arm_kill(wanted)
    assert [s.name for s in world.kills.schedules()].count(wanted.token) == 1
    cloud.disarm_kill(wanted)
    assert wanted.token not in [s.name for s in world.kills.schedules()]


def test_a_region_without_set_up_says_how_to_set_it_up(runs: AwsRuns) -> None:
    assert runs.cloud.zones_for("ap-south-1", "m5.large", None) == ()
    assert "init --cloud aws --region ap-south-1" in runs.cloud.how_to_set_up("ap-south-1")
    zones = runs.cloud.zones_for("us-east-1", "m5.large", None)
    assert len(zones) > 1
    assert runs.cloud.zones_for("us-east-1", "m5.large", zones[1]) == (zones[1],)


def _unpacked(body: bytes) -> bytes:
    """The body, with what may be wrapped in it."""
    from urllib.parse import parse_qs

    user_data = parse_qs(body.decode("latin-1")).get("UserData", [""])[0]
    return body + base64.b64decode(user_data)
