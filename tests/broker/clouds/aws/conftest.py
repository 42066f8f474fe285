"""Tests in this folder are of one vendor."""

from collections.abc import Iterator

import pytest
from tests.support.aws.server import StrictAws
from tests.support.aws.vendor import VENDOR
from tests.support.vendors import Vendor


@pytest.fixture(scope="module")
def vendor() -> Vendor:
    return VENDOR


@pytest.fixture
def spoiled(world: StrictAws) -> Iterator[StrictAws]:
    """For tests that damage the account: it is made anew after them."""
    yield world
    world.renew()
