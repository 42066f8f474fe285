"""One loopback Google Cloud for each module, in virtual time, and a state folder for each test."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.gcp.runs import GcpRuns
from tests.support.gcp.server import StrictGcp, environment, serving

from mlbroker.broker.clouds.gcp import GcpCloud
from mlbroker.broker.clouds.gcp_calls import Calls

_COUNT = itertools.count()


@pytest.fixture(scope="module")
def gcp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrictGcp]:
    with pytest.MonkeyPatch.context() as patch, serving(frozen=True) as world:
        for name, value in environment(world.url, tmp_path_factory.mktemp("google")).items():
            patch.setenv(name, value)
        yield world


@pytest.fixture
def world(gcp_server: StrictGcp) -> StrictGcp:
    gcp_server.calm()
    return gcp_server


@pytest.fixture(scope="module")
def calls(gcp_server: StrictGcp) -> Calls:
    """Shared, as a process shares them."""
    return Calls()


@pytest.fixture
def cloud(world: StrictGcp, calls: Calls) -> GcpCloud:
    return GcpCloud(calls)


@pytest.fixture
def run_id() -> str:
    """Unlike any other of this process: the loopback project outlives the test."""
    return f"r{next(_COUNT)}"


@pytest.fixture
def runs(world: StrictGcp, cloud: GcpCloud, tmp_path: Path) -> GcpRuns:
    return GcpRuns(tmp_path, world, cloud)
