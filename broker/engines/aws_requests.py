"""How many requests a second come to an Auto Scaling group, as its load balancer counts them.

An Application Load Balancer puts `RequestCount` of each target group into CloudWatch by the minute,
while requests flow; what is not there is unknown, and not zero.
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from statistics import fmean
from typing import Any, NamedTuple

from mlbroker.broker.clouds.library import library

MINUTE_S = 60
# A minute is complete once the balancer's nodes have all told of it: the one that has just ended
# is left out. Of so many before it the mean is taken.
_LATE_MINUTES, _MINUTES = 1, 3
_BALANCER = ":loadbalancer/"


class Requests(NamedTuple):
    """Requests a second; None where nobody tells, and why."""

    per_s: float | None
    untold: str | None = None


class BalancerRequests:
    """Of a region's load balancers."""

    def __init__(self, region: str) -> None:
        with library("aws"):
            import boto3

            self._balancers = boto3.client("elbv2", region_name=region)
            self._metrics = boto3.client("cloudwatch", region_name=region)

    def of(self, target_groups: Sequence[str], now_s: float) -> Requests:
        """Of all these target groups (their ARNs) together. Rights that are missing, and an AWS
        that does not answer, are a reason too: the replicas are known all the same."""
        if not target_groups:
            return Requests(None, "the group is in no target group of a load balancer")
        with library("aws"):
            from botocore.exceptions import BotoCoreError, ClientError
        try:
            told = self._balancers.describe_target_groups(TargetGroupArns=list(target_groups))
            queries = [_query(number, each) for number, each in enumerate(told["TargetGroups"])]
            if len(queries) < len(target_groups) or None in queries:
                return Requests(None, "a target group has no Application Load Balancer")
            end_s = (now_s // MINUTE_S - _LATE_MINUTES) * MINUTE_S
            counted = self._metrics.get_metric_data(
                MetricDataQueries=queries,
                StartTime=datetime.fromtimestamp(end_s - _MINUTES * MINUTE_S, UTC),
                EndTime=datetime.fromtimestamp(end_s, UTC),
            )["MetricDataResults"]
        except (BotoCoreError, ClientError) as error:
            return Requests(None, str(error))
        minutes = [each["Values"] for each in counted]
        if len(minutes) < len(queries) or not all(minutes):
            return Requests(None, "CloudWatch has no count of the last minutes")
        return Requests(sum(fmean(each) for each in minutes) / MINUTE_S)


def _query(number: int, group: Mapping[str, Any]) -> dict[str, Any] | None:
    """One that counts the requests of this group by the minute."""
    balancers = [arn.partition(_BALANCER)[2] for arn in group["LoadBalancerArns"]]
    # A Network Load Balancer ("net/…") counts flows, and no requests.
    if len(balancers) != 1 or not balancers[0].startswith("app/"):
        return None
    dimensions = {
        "LoadBalancer": balancers[0],
        "TargetGroup": group["TargetGroupArn"].rpartition(":")[2],
    }
    metric = {
        "Namespace": "AWS/ApplicationELB",
        "MetricName": "RequestCount",
        "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
    }
    return {
        "Id": f"g{number}",
        "MetricStat": {"Metric": metric, "Period": MINUTE_S, "Stat": "Sum"},
    }
