"""A loopback cloud for each module, in virtual time, and a state folder for each test.

In a vendor's own folder it is that vendor's; elsewhere a test is run on each.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.cloud_runs import CloudRuns
from tests.support.strict import StrictCloud
from tests.support.vendors import VENDORS, Vendor, vendor_named

_COUNT = itertools.count()


@pytest.fixture(scope="module", params=VENDORS)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    return vendor_named(request.param)


@pytest.fixture(scope="module")
def server(vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrictCloud]:
    with vendor.standing(tmp_path_factory.mktemp(vendor.name), frozen=True) as world:
        yield world


@pytest.fixture
def world(server: StrictCloud) -> StrictCloud:
    server.calm()
    return server


@pytest.fixture(scope="module")
def calls(server: StrictCloud, vendor: Vendor) -> Any:
    """Shared, as a process shares them: reading a vendor's service models may take a second."""
    return vendor.calls()


@pytest.fixture
def cloud(world: StrictCloud, vendor: Vendor, calls: Any) -> Any:
    return vendor.cloud(calls)


@pytest.fixture
def run_id() -> str:
    """Unlike any other of this process: the loopback account outlives the test."""
    return f"r{next(_COUNT)}"


@pytest.fixture
def runs(world: StrictCloud, vendor: Vendor, cloud: Any, tmp_path: Path) -> CloudRuns:
    return vendor.runs(tmp_path, world, cloud)
