"""The two requests that spend and that end spending, in full: closed, encrypted, gone when done."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from mlbroker.broker.clouds.aws.images import Image
from mlbroker.broker.clouds.aws.names import Names
from mlbroker.broker.clouds.aws.request import kill_request, launch_request
from mlbroker.broker.clouds.interface import Intent

NAMES = Names("123456789012", "eu-west-1")
TAGS = [
    {"Key": "mlbroker-run", "Value": "r1"},
    {"Key": "mlbroker-token", "Value": "mlb-r1-1"},
    {"Key": "Name", "Value": "mlbroker bert"},
]


def intent(market: str = "on_demand", nodes: int = 1) -> Intent:
    return Intent(
        token="mlb-r1-1",
        run_id="r1",
        attempt=1,
        job="bert",
        cloud="aws",
        region="eu-west-1",
        zone="eu-west-1b",
        instance_type="g6.xlarge",
        market=market,
        nodes=nodes,
        price_per_hour_usd=Decimal("0.8048"),
        intended_at=datetime(2026, 11, 24, 9, tzinfo=UTC),
        kill_at=datetime(2026, 11, 24, 10, 30, 15, 900000, tzinfo=UTC),
        disk_gb=100,
    )


def launch(of: Intent) -> dict[str, Any]:
    image = Image("ami-1", "/dev/xvda", least_gb=8)
    return launch_request(of, NAMES, image, "subnet-1", "sg-1", "#!/bin/bash\n")


def test_launch_is_exactly_this() -> None:
    assert launch(intent()) == {
        "ClientToken": "mlb-r1-1",
        "ImageId": "ami-1",
        "InstanceType": "g6.xlarge",
        "MinCount": 1,
        "MaxCount": 1,
        "IamInstanceProfile": {"Name": "mlbroker-machine-eu-west-1"},
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {
            "HttpTokens": "required",
            "HttpEndpoint": "enabled",
            "HttpPutResponseHopLimit": 1,
        },
        "BlockDeviceMappings": [
            {
                "DeviceName": "/dev/xvda",
                "Ebs": {
                    "VolumeSize": 100,
                    "VolumeType": "gp3",
                    "Encrypted": True,
                    "DeleteOnTermination": True,
                },
            }
        ],
        "NetworkInterfaces": [
            {
                "DeviceIndex": 0,
                "SubnetId": "subnet-1",
                "Groups": ["sg-1"],
                "AssociatePublicIpAddress": True,
                "DeleteOnTermination": True,
            }
        ],
        "TagSpecifications": [
            {"ResourceType": "instance", "Tags": TAGS},
            {"ResourceType": "volume", "Tags": TAGS},
            {"ResourceType": "network-interface", "Tags": TAGS},
        ],
        "UserData": "#!/bin/bash\n",
    }


def test_spot_is_asked_for_once_at_the_price_that_was_reserved() -> None:
    assert launch(intent("spot"))["InstanceMarketOptions"] == {
        "MarketType": "spot",
        "SpotOptions": {
            "SpotInstanceType": "one-time",
            "InstanceInterruptionBehavior": "terminate",
            "MaxPrice": "0.8048",
        },
    }


@pytest.mark.parametrize(
    ("kind", "credits"),
    [
        ("t4g.medium", {"CpuCredits": "standard"}),
        ("t3a.nano", {"CpuCredits": "standard"}),
        ("t2.micro", {"CpuCredits": "standard"}),
        ("t5g.large", {"CpuCredits": "standard"}),  # to come
        ("trn1.2xlarge", None),  # EC2 refuses it for all others
        ("m5.large", None),
    ],
)
def test_burstable_machines_buy_no_surplus_credits(
    kind: str, credits: dict[str, str] | None
) -> None:
    request = launch(replace(intent(), instance_type=kind))
    assert request.get("CreditSpecification") == credits


def test_several_machines_come_together_or_not_at_all() -> None:
    request = launch(intent(nodes=4))
    assert (request["MinCount"], request["MaxCount"]) == (4, 4)


def test_a_job_by_any_name_makes_a_tag_that_ec2_takes() -> None:
    request = launch(replace(intent(), job="b\u202eert; rm -rf $HOME\n\u00fc" + "x" * 300))
    (tag,) = [t for t in request["TagSpecifications"][0]["Tags"] if t["Key"] == "Name"]
    assert tag["Value"].startswith("mlbroker b_ert_ rm -rf _HOME__x")
    assert len(tag["Value"]) == 255


def test_kill_is_exactly_this() -> None:
    request = kill_request(intent(), NAMES)
    wanted = json.loads(request["Target"].pop("Input"))
    assert wanted == {
        "DocumentName": "AWS-TerminateEC2Instance",
        "TargetParameterName": "InstanceId",
        "Parameters": {
            "AutomationAssumeRole": ["arn:aws:iam::123456789012:role/mlbroker-kill-eu-west-1"]
        },
        "Targets": [{"Key": "tag:mlbroker-token", "Values": ["mlb-r1-1"]}],
        "MaxConcurrency": "100%",
        "MaxErrors": "100%",
    }
    assert request == {
        "Name": "mlb-r1-1",
        "ClientToken": "mlb-r1-1",
        "Description": "Ends the machines of mlbroker run r1",
        "ScheduleExpression": "at(2026-11-24T10:30:15)",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "NONE",
        "Target": {
            "Arn": "arn:aws:scheduler:::aws-sdk:ssm:startAutomationExecution",
            "RoleArn": "arn:aws:iam::123456789012:role/mlbroker-kill-eu-west-1",
            "DeadLetterConfig": {"Arn": "arn:aws:sqs:eu-west-1:123456789012:mlbroker-kill-failed"},
            "RetryPolicy": {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185},
        },
    }
