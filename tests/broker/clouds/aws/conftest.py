"""One loopback AWS for each module, in virtual time, and a state folder for each test."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.aws.runs import AwsRuns
from tests.support.aws.server import StrictAws, environment, serving

from mlbroker.broker.clouds.aws import AwsCloud
from mlbroker.broker.clouds.aws_calls import Calls

_COUNT = itertools.count()


@pytest.fixture(scope="module")
def aws_server() -> Iterator[StrictAws]:
    with pytest.MonkeyPatch.context() as patch, serving(frozen=True) as world:
        for name, value in environment(world.url).items():
            patch.setenv(name, value)
        yield world


@pytest.fixture
def world(aws_server: StrictAws) -> StrictAws:
    aws_server.calm()
    return aws_server


@pytest.fixture
def spoiled(world: StrictAws) -> Iterator[StrictAws]:
    """For tests that damage the account: it is made anew after them."""
    yield world
    world.renew()


@pytest.fixture(scope="module")
def calls(aws_server: StrictAws) -> Calls:
    """Shared, as a process shares them: reading the service models takes half a second."""
    return Calls()


@pytest.fixture
def cloud(world: StrictAws, calls: Calls) -> AwsCloud:
    return AwsCloud(calls)


@pytest.fixture
def run_id() -> str:
    """Unlike any other of this process: the loopback account outlives the test."""
    return f"r{next(_COUNT)}"


@pytest.fixture
def runs(world: StrictAws, cloud: AwsCloud, tmp_path: Path) -> AwsRuns:
    return AwsRuns(tmp_path, world, cloud)
