"""The requests that matter, as values: what launches a machine, and what ends it."""

import json
import re
from collections.abc import Mapping
from datetime import UTC
from typing import Any

from mlbroker.broker.clouds.aws.images import Image
from mlbroker.broker.clouds.aws.names import TERMINATE, Names
from mlbroker.broker.clouds.interface import TOKEN_TAG, Intent, Unfit
from mlbroker.pricing.burst import sells_surplus
from mlbroker.pricing.vendors import vendor

SCHEDULER_TARGET = "scheduler:::aws-sdk:ssm:startAutomationExecution"
# Gp3 volumes up to this size cost the same by the GB everywhere in the book.
VOLUME_TYPE = "gp3"
# What EC2 takes in a tag's value.
_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9 +=._:/@-]")


def launch_request(
    intent: Intent, names: Names, image: Image, subnet_id: str, group_id: str, user_data: str
) -> dict[str, Any]:
    """RunInstances: one token, everything tagged, encrypted, closed, and gone when it ends."""
    tags = [{"Key": key, "Value": value} for key, value in _tags(intent).items()]
    request: dict[str, Any] = {
        "ClientToken": intent.token,
        "ImageId": image.id,
        "InstanceType": intent.instance_type,
        "MinCount": intent.nodes,
        "MaxCount": intent.nodes,
        "IamInstanceProfile": {"Name": names.guest},
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {
            "HttpTokens": "required",
            "HttpEndpoint": "enabled",
            "HttpPutResponseHopLimit": 1,
        },
        "BlockDeviceMappings": [
            {
                "DeviceName": image.root_device,
                "Ebs": {
                    "VolumeSize": intent.disk_gb,
                    "VolumeType": VOLUME_TYPE,
                    "Encrypted": True,
                    "DeleteOnTermination": True,
                },
            }
        ],
        "NetworkInterfaces": [
            {
                "DeviceIndex": 0,
                "SubnetId": subnet_id,
                "Groups": [group_id],
                "AssociatePublicIpAddress": True,
                "DeleteOnTermination": True,
            }
        ],
        "TagSpecifications": [
            {"ResourceType": kind, "Tags": tags}
            for kind in ("instance", "volume", "network-interface")
        ],
        "UserData": user_data,
    }
    if sells_surplus(intent.instance_type):
        # Its default, `unlimited`, bills surplus credits: outside the quote, and outside the cap.
        request["CreditSpecification"] = {"CpuCredits": "standard"}
    if intent.market == "spot":
        bid = intent.most_per_hour_usd
        if bid <= vendor(intent.cloud).least_bid_usd:
            raise Unfit(f"EC2 takes no spot bid of {bid:f} USD", where=f"aws {intent.region}")
        request["InstanceMarketOptions"] = {
            "MarketType": "spot",
            "SpotOptions": {
                "SpotInstanceType": "one-time",
                "InstanceInterruptionBehavior": "terminate",
                # The cap was reckoned with it: above it, no machine.
                "MaxPrice": f"{bid:f}",
            },
        }
    return request


def kill_request(intent: Intent, names: Names) -> dict[str, Any]:
    """CreateSchedule: at the kill time Systems Manager ends whatever carries the attempt's tag."""
    at = intent.kill_at.astimezone(UTC)
    wanted = {
        "DocumentName": TERMINATE,
        "TargetParameterName": "InstanceId",
        # The runbook acts as this role itself: no session of the scheduler's can run out on it.
        "Parameters": {"AutomationAssumeRole": [names.kill_role_arn]},
        "Targets": [{"Key": f"tag:{TOKEN_TAG}", "Values": [intent.token]}],
        "MaxConcurrency": "100%",
        "MaxErrors": "100%",
    }
    return {
        "Name": intent.token,
        "ClientToken": intent.token,
        "Description": f"Ends the machines of mlbroker run {intent.run_id}",
        "ScheduleExpression": f"at({at:%Y-%m-%dT%H:%M:%S})",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        # Kept after it fired: `reconcile` and `doctor` look at it.
        "ActionAfterCompletion": "NONE",
        "Target": {
            "Arn": f"arn:aws:{SCHEDULER_TARGET}",
            "RoleArn": names.kill_role_arn,
            "Input": json.dumps(wanted, sort_keys=True),
            "DeadLetterConfig": {"Arn": names.dead_letters_arn},
            "RetryPolicy": {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185},
        },
    }


def _tags(intent: Intent) -> Mapping[str, str]:
    return {**intent.tags, "Name": _NOT_IN_TAGS.sub("_", f"mlbroker {intent.job}")[:255]}
