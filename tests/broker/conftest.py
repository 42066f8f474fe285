"""One browser for all pages."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser
from tests.support.browser import running_browser


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with running_browser() as started:
        yield started
