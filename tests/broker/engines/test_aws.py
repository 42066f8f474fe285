"""An Auto Scaling group, as moto plays it in this process."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.autoscaling.models import InstanceState

from mlbroker.broker.app.service_guard import now_here
from mlbroker.broker.engines import open_switch
from mlbroker.broker.engines.aws import ACTION
from mlbroker.broker.errors import CloudError, InputError
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.services.books import Account, Books
from mlbroker.broker.services.guard import Guard, Rules
from mlbroker.broker.services.journal import Journal
from mlbroker.policies.service.interface import HOUR_MS, Terms
from mlbroker.policies.service.periods import utc_month

REGION, GROUP = "eu-central-1", "classify"
LATER_S = 1_900_000_000.0


@pytest.fixture
def scaling(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        ec2 = boto3.client("ec2", region_name=REGION)
        image = ec2.describe_images()["Images"][0]["ImageId"]
        template = {"ImageId": image, "InstanceType": "t3.micro"}
        ec2.create_launch_template(
            LaunchTemplateName="classify-template", LaunchTemplateData=template
        )
        client = boto3.client("autoscaling", region_name=REGION)
        client.create_auto_scaling_group(
            AutoScalingGroupName=GROUP,
            LaunchTemplate={"LaunchTemplateName": "classify-template", "Version": "$Latest"},
            MinSize=1, MaxSize=5, DesiredCapacity=3, AvailabilityZones=[f"{REGION}a"],
        )  # fmt: skip
        yield client


def group_of(scaling: Any) -> Any:
    return scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"][
        0
    ]


def test_a_look_tells_who_is_paid_for_since_when(scaling: Any) -> None:
    seen = open_switch(f"aws:{REGION}/{GROUP}").look()
    assert (seen.running, seen.ready, seen.most, seen.foreign) == (3, 3, 5, 0)
    assert seen.lives is not None
    assert [life.until_s for life in seen.lives] == [None] * 3
    assert all(life.since_s <= seen.now_s + 1 for life in seen.lives)


def test_an_instance_that_ended_is_paid_for_until_it_did(scaling: Any) -> None:
    gone = group_of(scaling)["Instances"][0]["InstanceId"]
    boto3.client("ec2", region_name=REGION).terminate_instances(InstanceIds=[gone])
    seen = open_switch(f"aws:{REGION}/{GROUP}").look()
    assert seen.lives is not None
    life = next(each for each in seen.lives if each.name == gone)
    assert life.until_s is not None
    assert life.since_s <= life.until_s <= seen.now_s + 1


def test_the_end_of_a_maximum_is_put_before_the_maximum(
    scaling: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch: Any = open_switch(f"aws:{REGION}/{GROUP}")

    def refused(**_: object) -> None:
        raise CloudError("refused")

    monkeypatch.setattr(switch._scaling, "update_auto_scaling_group", refused)
    with pytest.raises(CloudError):
        switch.allow(1, 40, LATER_S, 4)
    actions = scaling.describe_scheduled_actions(AutoScalingGroupName=GROUP)
    (action,) = actions["ScheduledUpdateGroupActions"]
    assert (action["ScheduledActionName"], action["MinSize"], action["MaxSize"]) == (ACTION, 1, 4)
    assert action["StartTime"] == datetime.fromtimestamp(LATER_S, UTC)
    assert group_of(scaling)["MaxSize"] == 5, "not raised"


def test_a_renewal_replaces_the_end_and_a_lower_maximum_ends_what_is_above_it(
    scaling: Any,
) -> None:
    switch = open_switch(f"aws:{REGION}/{GROUP}")
    switch.allow(1, 9, LATER_S, 4)
    assert group_of(scaling)["MaxSize"] == 9
    assert group_of(scaling)["DesiredCapacity"] == 3, "the group scales by itself"
    switch.allow(1, 2, LATER_S + 60, 1)
    switch.allow(1, 2, LATER_S + 60, 1)
    actions = scaling.describe_scheduled_actions(AutoScalingGroupName=GROUP)
    (action,) = actions["ScheduledUpdateGroupActions"]
    assert action["StartTime"] == datetime.fromtimestamp(LATER_S + 60, UTC)
    assert (action["MinSize"], action["MaxSize"]) == (1, 1)
    assert len(group_of(scaling)["Instances"]) == 2
    switch.allow(1, 0, LATER_S + 60, 0)
    assert group_of(scaling)["MinSize"] == 0
    switch.allow(1, 2, LATER_S + 60, 1)
    assert group_of(scaling)["MinSize"] == 1


def test_what_the_group_did_not_launch_is_told_and_protected(
    scaling: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ec2 = boto3.client("ec2", region_name=REGION)
    image = ec2.describe_images()["Images"][0]["ImageId"]
    other = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    scaling.attach_instances(AutoScalingGroupName=GROUP, InstanceIds=[other])
    template = InstanceState.launch_template.fget  # type: ignore[attr-defined]
    # AWS tells none of an instance that was attached; moto tells the group's.
    monkeypatch.setattr(
        InstanceState,
        "launch_template",
        property(lambda self: None if self.instance_id == other else template(self)),
    )
    switch = open_switch(f"aws:{REGION}/{GROUP}")
    seen = switch.look()
    assert (seen.running, seen.foreign) == (4, 1)
    switch.allow(1, 2, LATER_S, 1)
    left = {each["InstanceId"]: each for each in group_of(scaling)["Instances"]}
    assert left[other]["ProtectedFromScaleIn"]
    assert sum(each["ProtectedFromScaleIn"] for each in left.values()) == 1


def test_a_guard_holds_a_group_with_leases(scaling: Any, tmp_path: Path) -> None:
    switch = open_switch(f"aws:{REGION}/{GROUP}")
    slack_ms = round((switch.slack_s + switch.minimum_s) * 1000)
    lease_s, price = 840.0, 10**9
    terms = Terms(
        price, 1000 * price * HOUR_MS, utc_month, 1, 20, round(lease_s * 1000) + slack_ms, slack_ms
    )
    account = Account("classify", "tester", None, "aws", REGION, "t3.micro", Decimal(1), "aws:x",
                      "here")  # fmt: skip
    journal = Journal(tmp_path, "classify")
    journal.folder.mkdir(parents=True)
    books = Books(open_ledger(tmp_path), account, lambda _: None)
    rules = Rules({"month": terms}, 10.0, lease_s)
    warned: list[str] = []
    guard = Guard(rules, switch, journal, books, now_here, warned.append)
    first = guard.look()
    # Three run of five: they may become seven at once.
    assert (first.running, first.most) == (3, 7)
    assert group_of(scaling)["MaxSize"] == 7
    (action,) = scaling.describe_scheduled_actions(AutoScalingGroupName=GROUP)[
        "ScheduledUpdateGroupActions"
    ]
    assert action["MaxSize"] == first.then == 1
    assert action["StartTime"].timestamp() == pytest.approx(first.seen_s + lease_s, abs=2)
    (run,) = open_ledger(tmp_path).open_runs()
    assert (run.attempt.cloud, run.attempt.region) == ("aws", REGION)
    assert run.reserved_usd >= Decimal(7) * Decimal(1050) / 3600
    last = guard.look(ends=True)
    assert group_of(scaling)["MaxSize"] == last.most == 1
    assert len(group_of(scaling)["Instances"]) == 1
    assert open_ledger(tmp_path).open_runs() == []
    assert warned == []


@pytest.mark.parametrize("target", ["", "eu-central-1", "eu-central-1/", "eu central/x"])
def test_what_is_no_group_is_refused(target: str, scaling: Any) -> None:
    with pytest.raises(InputError):
        open_switch(f"aws:{target}")
    with pytest.raises(InputError, match="no such group"):
        open_switch(f"aws:{REGION}/other").look()


def test_an_engine_that_cannot_be_moved_is_refused() -> None:
    with pytest.raises(InputError, match="there is no engine 'awz'") as refused:
        open_switch("awz:eu-central-1/x")
    assert refused.value.hint is not None
    assert "aws" in refused.value.hint
