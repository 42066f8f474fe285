"""The strict AWS under the conformance suite: one server a process, a new account each time."""

import atexit
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path

import pytest
from tests.support.aws.account import client_of
from tests.support.aws.guests import Script
from tests.support.aws.server import StrictAws, environment, serving

from mlbroker.broker.clouds.aws import AwsCloud
from mlbroker.broker.clouds.aws_calls import Calls
from mlbroker.broker.clouds.seam import Cloud, Payload

_CALLS = {"create": "RunInstances"}
_TYPE = "m5.large"


@cache
def _world() -> tuple[StrictAws, Calls]:
    keeping = ExitStack()
    # Before the interpreter stops its threads: a server without its thread never ends.
    atexit.register(keeping.close)
    return keeping.enter_context(serving(frozen=True)), Calls()


class AwsHarness:
    def __init__(self, world: StrictAws, calls: Calls) -> None:
        self.spared: dict[str, str] = {}
        self._world = world
        self._calls = calls
        self.cloud: Cloud = AwsCloud(calls)

    def now(self) -> datetime:
        return self._world.clock.now()

    def wait(self, seconds: float) -> None:
        self._world.clock.advance(seconds)

    def reopened(self) -> Cloud:
        return AwsCloud(self._calls)

    def type_name(self) -> str:
        return _TYPE

    def payload(self, seconds: float, code: int = 0) -> Payload:
        assert isinstance(self._world.guest, Script)
        self._world.guest.job_s, self._world.guest.code = seconds, code
        return Payload({"command": "true"})

    def stranger(self) -> str:
        ec2 = client_of("ec2", "us-east-1", self._world.url)
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
        return machine_id.partition("/")[2] in {vm.id for vm in self._world.ec2.machines.living()}

    def lose_answers(self, call: str, times: int) -> None:
        self._world.faults.lost_after[_CALLS[call]] = times

    def lose_requests(self, call: str, times: int) -> None:
        self._world.faults.lost_before[_CALLS[call]] = times

    def hide_new_machines(self, seconds: float) -> None:
        self._world.ec2.machines.hidden_s = seconds

    def fail_deletes(self, times: int) -> None:
        self._world.faults.ignored_deletes = times

    def run_out_of(self, what: str) -> None:
        if what == "capacity":
            self._world.ec2.capacity[_TYPE, "*", "*"] = 0
        else:
            self._world.ec2.quota_vcpus["on_demand"] = 0


@contextmanager
def open_harness(folder: Path) -> Iterator[AwsHarness]:
    world, calls = _world()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(world.url).items():
            patch.setenv(name, value)
        world.renew(("us-east-1",))
        yield AwsHarness(world, calls)
