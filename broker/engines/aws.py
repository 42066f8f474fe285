"""An Auto Scaling group of AWS: its maximum is MaxSize, and the end of one a scheduled action.

The action is put before the maximum is raised, and replaced with each renewal. Whoever scales the
group (a target-tracking policy, say) goes on doing so below the maximum.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from mlbroker.broker.clouds.library import library
from mlbroker.broker.engines.aws_requests import BalancerRequests
from mlbroker.broker.engines.interface import Life, Seen
from mlbroker.broker.errors import CloudError, InputError

TARGET = "REGION/GROUP"
ACTION = "mlbroker-lease"
# Instances in these states are paid for (docs: Auto Scaling instance lifecycle).
_STANDING = frozenset({"InService", "Standby", "EnteringStandby"})
_GONE = frozenset({"Terminated", "Detached", "Warmed:Stopped", "Warmed:Hibernated"})
_GROUP_TAG = "aws:autoscaling:groupName"
_PROTECTED_AT_ONCE = 50


def opened(target: str) -> "ScalingGroup":
    """InputError for what is no region and group."""
    region, _, group = target.partition("/")
    if not group or not region.replace("-", "").isalnum():
        raise InputError(
            "is no region and group", where="--engine", hint="aws:eu-central-1/my-group"
        )
    return ScalingGroup(region, group)


class ScalingGroup:
    """Billed by the second, a minute at least. A scheduled action comes within two minutes of its
    time, and an instance that is ended is not paid for any more once it shuts down. EC2 tells of
    ended instances for about an hour: half of one is relied on.
    """

    cloud = "aws"
    slack_s, minimum_s, remembers_s = 150.0, 60.0, 1800.0

    def __init__(self, region: str, group: str) -> None:
        self.region = region
        self._group = group
        self._described: dict[str, Any] | None = None
        with _told(self._where), library("aws"):
            import boto3

            self._scaling = boto3.client("autoscaling", region_name=region)
            self._ec2 = boto3.client("ec2", region_name=region)
            self._requests = BalancerRequests(region)

    @property
    def _where(self) -> str:
        return f"aws:{self.region}/{self._group}"

    def look(self) -> Seen:
        """CloudError where AWS does not answer, InputError where there is no such group."""
        with _told(self._where):
            group, now_s = self._describe()
            lives = list(self._lives(now_s))
            requests = self._requests.of(group.get("TargetGroupARNs", ()), now_s)
        self._described = group
        members = [each for each in group["Instances"] if each["LifecycleState"] not in _GONE]
        foreign = [each["InstanceId"] for each in members if not _launched(each)]
        return Seen(
            now_s=now_s,
            running=max(sum(life.until_s is None for life in lives), len(members)),
            ready=sum(each["LifecycleState"] in _STANDING for each in members),
            most=group["MaxSize"],
            lives=lives,
            requests_per_s=requests.per_s,
            foreign=len(foreign),
            untold=requests.untold,
        )

    def allow(self, least: int, most: int, until_s: float, then: int) -> None:
        """The end first: a maximum without one is never there."""
        with _told(self._where):
            # As it was seen a moment ago, once.
            group, self._described = self._described or self._describe()[0], None
            self._protect(
                [
                    each["InstanceId"]
                    for each in group["Instances"]
                    if not _launched(each) and not each["ProtectedFromScaleIn"]
                ]
            )
            self._scaling.put_scheduled_update_group_action(
                AutoScalingGroupName=self._group,
                ScheduledActionName=ACTION,
                StartTime=datetime.fromtimestamp(until_s, UTC).replace(microsecond=0),
                MinSize=min(least, then),
                MaxSize=then,
            )
            self._scaling.update_auto_scaling_group(
                AutoScalingGroupName=self._group,
                MinSize=min(least, most),
                MaxSize=most,
                **({"DesiredCapacity": most} if group["DesiredCapacity"] > most else {}),
            )

    def _describe(self) -> tuple[dict[str, Any], float]:
        """The group, and when it was so by AWS's own clock."""
        told = self._scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self._group])
        if not told["AutoScalingGroups"]:
            raise InputError("there is no such group", where=self._where)
        return told["AutoScalingGroups"][0], _server_s(told)

    def _protect(self, foreign: list[str]) -> None:
        """What the group did not launch is never ended for a lower maximum."""
        for first in range(0, len(foreign), _PROTECTED_AT_ONCE):
            self._scaling.set_instance_protection(
                AutoScalingGroupName=self._group,
                InstanceIds=foreign[first : first + _PROTECTED_AT_ONCE],
                ProtectedFromScaleIn=True,
            )

    def _lives(self, now_s: float) -> Iterator[Life]:
        """Of all instances of the group that EC2 tells of."""
        pages = self._ec2.get_paginator("describe_instances").paginate(
            Filters=[{"Name": f"tag:{_GROUP_TAG}", "Values": [self._group]}]
        )
        for page in pages:
            for reservation in page["Reservations"]:
                for each in reservation["Instances"]:
                    since_s = each["LaunchTime"].timestamp()
                    yield Life(each["InstanceId"], since_s, _ended_s(each, now_s))


def _launched(member: dict[str, Any]) -> bool:
    """An instance that was attached has neither template nor configuration in the group."""
    return bool(member.get("LaunchTemplate") or member.get("LaunchConfigurationName"))


def _ended_s(instance: dict[str, Any], now_s: float) -> float | None:
    """When EC2 stopped counting; None while it counts. EC2 writes the moment behind the reason:
    "User initiated (2026-11-30 09:20:53 GMT)"; where it does not, it is now."""
    if instance["State"]["Name"] in ("pending", "running"):
        return None
    _, _, rest = instance.get("StateTransitionReason", "").partition("(")
    try:
        at = datetime.strptime(rest.partition(")")[0].removesuffix(" GMT"), "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return now_s
    return at.replace(tzinfo=UTC).timestamp()


def _server_s(told: dict[str, Any]) -> float:
    """AWS's own clock, to the second."""
    date = told["ResponseMetadata"]["HTTPHeaders"].get("date")
    return (
        datetime.now(UTC).timestamp() if date is None else parsedate_to_datetime(date).timestamp()
    )


@contextmanager
def _told(where: str) -> Iterator[None]:
    """AWS's errors, as ours."""
    with library("aws"):
        from botocore.exceptions import BotoCoreError, ClientError
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise CloudError(str(error), where=where) from None
