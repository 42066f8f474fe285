"""One loopback Azure for each module, in virtual time, and a state folder for each test."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.azure.runs import AzureRuns
from tests.support.azure.server import StrictAzure, environment, serving

from mlbroker.broker.clouds.azure import AzureCloud
from mlbroker.broker.clouds.azure_calls import Calls

_COUNT = itertools.count()


@pytest.fixture(scope="module")
def azure_server() -> Iterator[StrictAzure]:
    with pytest.MonkeyPatch.context() as patch, serving(frozen=True) as world:
        for name, value in environment(world.url).items():
            patch.setenv(name, value)
        yield world


@pytest.fixture
def world(azure_server: StrictAzure) -> StrictAzure:
    azure_server.calm()
    return azure_server


@pytest.fixture(scope="module")
def calls(azure_server: StrictAzure) -> Calls:
    """Shared, as a process shares them."""
    return Calls()


@pytest.fixture
def cloud(world: StrictAzure, calls: Calls) -> AzureCloud:
    return AzureCloud(calls)


@pytest.fixture
def run_id() -> str:
    """Unlike any other of this process: the loopback subscription outlives the test."""
    return f"r{next(_COUNT)}"


@pytest.fixture
def runs(world: StrictAzure, cloud: AzureCloud, tmp_path: Path) -> AzureRuns:
    return AzureRuns(tmp_path, world, cloud)
