"""An Auto Scaling group, as moto plays it in this process."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
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
    assert [text.partition(":")[0] for text in warned] == [
        "requests are not known, and are guessed by the replicas"
    ]


class Balancer:
    """An Application Load Balancer before the group; what it counted is put for it."""

    def __init__(self, scaling: Any, name: str = "front") -> None:
        ec2 = boto3.client("ec2", region_name=REGION)
        client = boto3.client("elbv2", region_name=REGION)
        subnets = [each["SubnetId"] for each in ec2.describe_subnets()["Subnets"][:2]]
        vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        self.balancer_arn = client.create_load_balancer(Name=name, Subnets=subnets)[
            "LoadBalancers"
        ][0]["LoadBalancerArn"]
        self.arn = client.create_target_group(
            Name=f"{name}-targets", Protocol="HTTP", Port=80, VpcId=vpc
        )["TargetGroups"][0]["TargetGroupArn"]
        client.create_listener(
            LoadBalancerArn=self.balancer_arn, Protocol="HTTP", Port=80,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": self.arn}],
        )  # fmt: skip
        scaling.attach_load_balancer_target_groups(
            AutoScalingGroupName=GROUP, TargetGroupARNs=[self.arn]
        )

    def counts(self, requests_by_minute: dict[int, float]) -> None:
        """Of minutes that ended so many whole minutes before the last one did."""
        now_minute = int(datetime.now(UTC).timestamp()) // 60
        # In the order in which they are asked for: moto sorts them wrongly.
        dimensions = {
            "LoadBalancer": self.balancer_arn.partition(":loadbalancer/")[2],
            "TargetGroup": self.arn.rpartition(":")[2],
        }
        boto3.client("cloudwatch", region_name=REGION).put_metric_data(
            Namespace="AWS/ApplicationELB",
            MetricData=[
                {
                    "MetricName": "RequestCount",
                    "Dimensions": [{"Name": k, "Value": v} for k, v in dimensions.items()],
                    "Timestamp": datetime.fromtimestamp(60 * (now_minute - 1 - ago), UTC),
                    "Value": requests,
                    "Unit": "Count",
                }
                for ago, requests in requests_by_minute.items()
            ],
        )


def rate_seen() -> tuple[float | None, str | None]:
    seen = open_switch(f"aws:{REGION}/{GROUP}").look()
    return seen.requests_per_s, seen.untold


def test_requests_are_the_balancer_s_of_the_last_whole_minutes(scaling: Any) -> None:
    balancer = Balancer(scaling)
    # The last minute is not told in full yet, and what is long ago is no rate of now.
    balancer.counts({0: 60.0, 1: 6000.0, 2: 6600.0, 3: 7200.0, 4: 6600.0, 9: 90.0})
    rate, untold = rate_seen()
    # Whether or not a minute began meanwhile.
    assert rate == pytest.approx(110.0) or rate == pytest.approx((60 + 6000 + 6600) / 180)
    assert untold is None


def test_minutes_that_are_missing_are_unknown_and_not_zero(scaling: Any) -> None:
    balancer = Balancer(scaling)
    assert rate_seen() == (None, "CloudWatch has no count of the last minutes")
    balancer.counts({2: 6600.0, 20: 6600.0})
    assert rate_seen() == (pytest.approx(110.0), None)
    # Of a second group nothing is told: what comes in all is not known then.
    other = Balancer(scaling, name="side")
    assert rate_seen()[0] is None
    other.counts({2: 600.0})
    assert rate_seen() == (pytest.approx(120.0), None)


def test_who_counts_no_requests_is_said(scaling: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rate, untold = rate_seen()
    assert rate is None
    assert untold is not None
    assert "in no target group" in untold
    switch: Any = open_switch(f"aws:{REGION}/{GROUP}")
    arn = Balancer(scaling).arn
    network = {"TargetGroupArn": arn, "LoadBalancerArns": ["arn:aws:x:loadbalancer/net/n/1"]}
    told = {"TargetGroups": [network]}
    monkeypatch.setattr(switch._requests._balancers, "describe_target_groups", lambda **_: told)
    assert switch.look().untold == "a target group has no Application Load Balancer"
    network["LoadBalancerArns"] = []
    assert switch.look().untold == "a target group has no Application Load Balancer"

    def refused(**_: object) -> None:
        denied = {"Code": "AccessDenied", "Message": "not authorized to perform"}
        raise ClientError({"Error": denied}, "DescribeTargetGroups")

    monkeypatch.setattr(switch._requests._balancers, "describe_target_groups", refused)
    seen = switch.look()
    assert (seen.running, seen.requests_per_s) == (3, None)
    assert "not authorized" in seen.untold


def test_a_group_is_described_once_a_look(scaling: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    switch: Any = open_switch(f"aws:{REGION}/{GROUP}")
    asked = []
    describe = switch._scaling.describe_auto_scaling_groups

    def counted(**told: Any) -> Any:
        asked.append(told)
        return describe(**told)

    monkeypatch.setattr(switch._scaling, "describe_auto_scaling_groups", counted)
    for most in (9, 2):
        switch.look()
        switch.allow(1, most, LATER_S, 1)
    assert len(asked) == 2
    assert len(group_of(scaling)["Instances"]) == 2


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
