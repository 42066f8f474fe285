"""The check-up finds each thing that can be missing, says what to do, and leaves nothing behind."""

import json

import pytest
from tests.support.aws.account import ACCOUNT, client_of
from tests.support.aws.runs import intent
from tests.support.aws.server import StrictAws

from mlbroker.broker.clouds.aws.cloud import AwsCloud
from mlbroker.broker.clouds.aws.doctor import checks, policies
from mlbroker.broker.clouds.checks import Check
from mlbroker.broker.clouds.interface import Payload

EAST = ("us-east-1",)


def found(world: StrictAws, *regions: str) -> dict[str, Check]:
    return {c.name: c for c in checks(regions or EAST, world.clock.now()) if "quota" not in c.name}


def test_an_account_that_is_set_up_is_well_and_stays_as_it_is(world: StrictAws) -> None:
    before = len(world.vms())
    assert [check for check in found(world).values() if not check.ok] == []
    assert len(world.vms()) == before
    assert [s.name for s in world.kills.schedules() if "doctor" in s.name] == []
    s3 = client_of("s3", "us-east-1", world.url)
    kept = s3.list_objects_v2(Bucket=f"mlbroker-{ACCOUNT}-us-east-1").get("Contents", [])
    assert [item["Key"] for item in kept if "doctor" in item["Key"]] == []


def test_a_region_without_set_up_is_told_what_to_do(spoiled: StrictAws) -> None:
    spoiled.renew(("us-east-1",))
    missing = found(spoiled, "us-west-2")
    assert missing["us-west-2: bucket"].ok is False
    assert missing["us-west-2: launch"].ok is False
    hint = missing["us-west-2: bucket"].hint
    assert hint is not None
    assert "init --cloud aws --region us-west-2" in hint


def test_a_region_that_is_switched_off_is_told(world: StrictAws) -> None:
    off = found(world, "ap-east-1")["ap-east-1: region"]
    assert off.ok is False
    assert "not switched on" in off.says


@pytest.mark.parametrize(
    ("action", "check"),
    [
        ("CreateSchedule", "kill switch"),
        ("RunInstances", "launch"),
        ("PutObject", "bucket"),
        ("GetQueueAttributes", "failed kills"),
        ("ListSchedules", "machines"),
    ],
)
def test_each_missing_right_is_found(world: StrictAws, action: str, check: str) -> None:
    world.faults.errors[action] = ("AccessDenied", "not allowed")
    assert found(world)[f"us-east-1: {check}"].ok is False


def test_bad_credentials_are_the_only_finding(
    world: StrictAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.faults.errors["GetCallerIdentity"] = ("ExpiredToken", "expired")
    (only,) = checks(EAST, world.clock.now())
    assert (only.name, only.ok) == ("credentials", False)
    assert only.hint is not None
    assert "Sign in" in only.hint


def test_a_machine_without_its_schedule_is_found(
    world: StrictAws, cloud: AwsCloud, run_id: str
) -> None:
    wanted = intent(world, run_id)
    machine = cloud.create(wanted, Payload({"command": "true"}))
    finding = found(world)["us-east-1: machines"]
    assert finding.ok is False
    assert wanted.token in finding.says
    cloud.terminate(machine.id)
    world.clock.advance(60)
    assert found(world)["us-east-1: machines"].ok


def test_a_machine_that_outlived_its_kill_is_found(
    world: StrictAws, cloud: AwsCloud, run_id: str
) -> None:
    world.guest.job_s, world.guest.timer = None, False  # type: ignore[attr-defined]
    world.faults.kill_works = False
    wanted = intent(world, run_id)
    cloud.arm_kill(wanted)
    machine = cloud.create(wanted, Payload({"command": "true"}))
    world.clock.advance(7200)
    finding = found(world)["us-east-1: machines"]
    assert finding.ok is False
    assert "kill is due" in finding.says
    cloud.terminate(machine.id)
    cloud.disarm_kill(wanted)
    world.clock.advance(60)


def test_kills_that_failed_are_counted(world: StrictAws) -> None:
    sqs = client_of("sqs", "us-east-1", world.url)
    url = sqs.get_queue_url(QueueName="mlbroker-kill-failed")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    finding = found(world)["us-east-1: failed kills"]
    assert finding.ok is False
    assert "1 kills" in finding.says
    sqs.purge_queue(QueueUrl=url)


def test_a_quota_of_zero_is_shown_with_its_code(world: StrictAws) -> None:
    world.quotas["L-417A185B"] = 0
    shown = [c for c in checks(EAST, world.clock.now()) if "P families: 0" in c.says]
    assert [(c.ok, "L-417A185B" in (c.hint or "")) for c in shown] == [(None, True)]


def test_the_policies_are_those_of_the_set_up() -> None:
    printed = json.loads(policies("1", "us-east-1"))
    assert len(printed) == 3
    for document in printed.values():
        for statement in document["Statement"]:
            assert statement["Effect"] == "Allow"
            assert not [a for a in statement["Action"] if "*" in a], "no wildcard actions"
