"""A state folder with a small price book, for all tests of a module."""

from pathlib import Path

import pytest
from tests.support.indexed import indexed


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return indexed(tmp_path_factory.mktemp("home"))
