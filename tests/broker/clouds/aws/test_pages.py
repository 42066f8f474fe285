"""No list of AWS's is read to its first page alone: what it can page, a paginator asks for."""

import re
from pathlib import Path

import boto3
import pytest
from tests.support.aws.runs import intent
from tests.support.aws.server import StrictAws

import mlbroker.broker
from mlbroker.broker.clouds.aws.cloud import AwsCloud
from mlbroker.broker.clouds.interface import MachineState, Payload

_BROKER = Path(str(mlbroker.broker.__file__)).parent
_SERVICES = (
    "ec2", "iam", "pricing", "s3", "scheduler", "service-quotas", "sqs", "ssm", "sts",
)  # fmt: skip
_CALL = re.compile(r"\.([a-z]+_[a-z_0-9]+)\(")


def pageable() -> set[str]:
    """The operations that AWS answers page by page, as its own library knows them."""
    found: set[str] = set()
    for service in _SERVICES:
        client = boto3.client(
            service, "us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
        )
        names = client.meta.method_to_api_mapping
        found |= {name for name in names if client.can_paginate(name)}
    return found


@pytest.mark.parametrize("folder", ["clouds/aws", "prices/feeds/aws"])
def test_what_comes_in_pages_is_asked_for_by_a_paginator(folder: str) -> None:
    called = {
        (file.name, name)
        for file in (_BROKER / folder).glob("*.py")
        for name in _CALL.findall(file.read_text())
    }
    assert {name for _, name in called} >= ({"run_instances"} if "clouds" in folder else set())
    paged = pageable()
    assert {"describe_instances", "describe_images", "list_schedules"} <= paged
    assert sorted((file, name) for file, name in called if name in paged) == []


def test_machines_and_files_on_a_second_page(
    world: StrictAws, cloud: AwsCloud, run_id: str
) -> None:
    """Fourteen secrets for each of two attempts: what is forgotten is forgotten to the last."""
    secrets = {f"SECRET_{number}": f"value-{number}" for number in range(14)}
    attempts = [
        intent(world, run_id, token=f"mlb-{run_id}-{number}", attempt=number) for number in (1, 2)
    ]
    made = {cloud.create(one, Payload({"command": "true"}, secrets=secrets)).id for one in attempts}
    world.faults.page = 1
    asked = len(world.requests)
    assert {machine.id for machine in cloud.find({"mlbroker-run": run_id})} == made
    assert any(world.stored())
    for machine in made:
        cloud.terminate(machine)
    world.clock.advance(120)
    states = {machine.state for machine in cloud.find({"mlbroker-run": run_id})}
    assert states <= {MachineState.TERMINATED}
    for one in attempts:
        cloud.discard(one)
    assert [key for key in world.stored() if key.startswith(("runs/", "machines/"))] == []
    turned = {
        request.action
        for request in world.requests[asked:]
        if "continuation-token" in request.query or "NextToken" in request.params
    }
    assert turned == {"DescribeInstances", "ListBucket"}
