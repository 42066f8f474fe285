"""A loopback cloud for each module whose `vendor` it is of, in virtual time and without pauses."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.strict import StrictCloud
from tests.support.vendors import Vendor


@pytest.fixture(scope="module")
def server(vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrictCloud]:
    folder = tmp_path_factory.mktemp(vendor.name)
    with vendor.standing(folder, frozen=True) as world, vendor.without_pauses(world):
        yield world


@pytest.fixture(scope="module")
def calls(server: StrictCloud, vendor: Vendor) -> Any:
    return vendor.calls()
