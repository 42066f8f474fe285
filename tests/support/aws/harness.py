"""The strict AWS under the conformance suite: one server a process, a new account each time."""

import atexit
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import pytest
from tests.support.aws.account import client_of
from tests.support.aws.server import StrictAws, environment, serving
from tests.support.aws.vendor import VENDOR
from tests.support.strict_harness import StrictHarness

from mlbroker.broker.clouds.aws.calls import Calls
from mlbroker.broker.clouds.aws.cloud import AwsCloud

_TYPE = "m5.large"


@cache
def _world() -> tuple[StrictAws, Calls]:
    keeping = ExitStack()
    # Before the interpreter stops its threads: a server without its thread never ends.
    atexit.register(keeping.close)
    return keeping.enter_context(serving(frozen=True)), Calls()


class AwsHarness(StrictHarness):
    name = "aws"
    region = "us-east-1"
    kind = _TYPE
    make = VENDOR.make

    def stranger(self) -> str:
        ec2 = client_of("ec2", "us-east-1", self.world.url)
        image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        answer = ec2.run_instances(
            ImageId=image,
            InstanceType=_TYPE,
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[
                {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "database"}]}
            ],
        )
        return f"us-east-1/{answer['Instances'][0]['InstanceId']}"

    def stranger_lives(self, machine_id: str) -> bool:
        return machine_id.partition("/")[2] in {vm.id for vm in self.world.ec2.machines.living()}

    def run_out_of(self, what: str) -> None:
        if what == "capacity":
            self.world.ec2.capacity[_TYPE, "*", "*"] = 0
        else:
            self.world.ec2.quota_vcpus["on_demand"] = 0


@contextmanager
def open_harness(folder: Path) -> Iterator[AwsHarness]:
    world, calls = _world()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(world.url).items():
            patch.setenv(name, value)
        world.renew(("us-east-1",))
        yield AwsHarness(world, lambda: AwsCloud(calls))
