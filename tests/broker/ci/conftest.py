"""A state folder with an indexed price book, and a repository, for the tests of `check`."""

from datetime import date
from pathlib import Path

import pytest
from tests.support.repositories import Repository

from mlbroker.broker.prices.price_book import open_book


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    open_book(folder, today=date(2026, 11, 1)).close()
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")
