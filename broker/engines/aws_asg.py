"""AWS Auto Scaling: the calls that set a group's bounds and its target.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_UpdateAutoScalingGroup.html and
API_PutScalingPolicy.html
"""

import json
import shlex
from typing import Any

from mlbroker.broker.engines.common import turns_nobody_away
from mlbroker.broker.engines.interface import Ceiling, Export
from mlbroker.profiles.job import Job

WORDS = "a script for an Auto Scaling group of AWS"
_LABEL = "RESOURCE_LABEL"


def export(job: Job, ceiling: Ceiling) -> Export:
    """A script of AWS' own command line, for a group with the job's name."""
    bounds = {
        "AutoScalingGroupName": job.name,
        "MinSize": ceiling.least,
        "MaxSize": ceiling.most,
        # Ends a machine before it starts the one in its place: else it may pass its maximum.
        "InstanceMaintenancePolicy": {"MinHealthyPercentage": 90, "MaxHealthyPercentage": 100},
    }
    metric = {
        "PredefinedMetricType": "ALBRequestCountPerTarget",
        "ResourceLabel": f"${{{_LABEL}}}",
    }
    policy = {
        "AutoScalingGroupName": job.name,
        "PolicyName": f"{job.name}-requests",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingConfiguration": {
            "PredefinedMetricSpecification": metric,
            # The metric counts by the minute.
            "TargetValue": float(f"{60 * ceiling.target_rps:.6g}"),
        },
    }
    lines = [
        "#!/bin/sh",
        "set -eu",
        f': "${{{_LABEL}:?is app/NAME/ID/targetgroup/NAME/ID, of the balancer and its targets}}"',
        _call("update-auto-scaling-group", bounds),
        _call("put-scaling-policy", policy),
    ]
    notes = [
        turns_nobody_away("An Application Load Balancer", ceiling),
        f"The group is taken to be called {job.name!r}; {_LABEL} names its load balancer",
        "A group with capacity rebalancing (spot) may pass its maximum by a tenth for a while",
    ]
    return Export("\n".join(lines) + "\n", tuple(notes))


def _call(operation: str, parameters: dict[str, Any]) -> str:
    told = shlex.quote(json.dumps(parameters))
    told = told.replace(f"${{{_LABEL}}}", f"'\"${{{_LABEL}}}\"'")
    return f"aws autoscaling {operation} --cli-input-json {told}"
