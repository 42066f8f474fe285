"""Tests in this folder are of one vendor."""

import pytest
from tests.support.azure.vendor import VENDOR
from tests.support.vendors import Vendor


@pytest.fixture(scope="module")
def vendor() -> Vendor:
    return VENDOR
