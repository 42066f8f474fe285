"""The rented clouds, whose machines really run."""

from collections.abc import Iterator

import pytest
from tests.support.strict import StrictCloud
from tests.support.vendors import VENDORS, Vendor, vendor_named


@pytest.fixture(params=VENDORS)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    return vendor_named(request.param)


@pytest.fixture
def live(vendor: Vendor) -> Iterator[StrictCloud]:
    with vendor.serving(execute=True) as world:
        world.control.machines.boot_s = 0.05
        world.control.machines.shutdown_s = 0.05
        yield world
