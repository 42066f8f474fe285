"""A state folder with an indexed price book, and a repository, for the tests of `check`."""

from pathlib import Path

import pytest
from tests.support.indexed import indexed
from tests.support.repositories import Repository


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return indexed(tmp_path_factory.mktemp("home"))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")
