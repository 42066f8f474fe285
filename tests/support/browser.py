"""A real browser for the HTML pages: what it shows, does, loads and complains of."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, sync_playwright

from mlbroker.broker.report.library import FOLDER, LIBRARY

CHROMIUM = shutil.which("chromium")
needs_chart_library = pytest.mark.skipif(
    not (FOLDER / LIBRARY).exists(), reason="needs the chart library: pip install -e ."
)
PATIENCE_MS = 8_000


@contextmanager
def running_browser() -> Iterator[Browser]:
    """One browser; to start it takes a second."""
    if CHROMIUM is None:
        pytest.skip("needs a browser: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Browser,
    file: Path,
    *,
    scheme: Literal["light", "dark"] = "light",
    width: int = 1200,
) -> Iterator[Page]:
    """The page as drawn. Whatever it loads, says on its console or asks the user fails the test."""
    wrong: list[str] = []
    with browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}) as own:
        page = own.new_page()
        page.set_default_timeout(PATIENCE_MS)

        def only_itself(route: Route) -> None:
            if route.request.url == file.as_uri():
                route.continue_()
            else:
                wrong.append(f"loads {route.request.url}")
                route.abort()

        page.route("**/*", only_itself)
        page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: wrong.append(f"asks: {dialog.message}"))
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        yield page
    assert wrong == []


def serious_faults(page: Page) -> list[str]:
    """What keeps people with disabilities from using it, as axe-core finds it."""
    return [
        f"{fault['id']}: {fault['nodes'][0]['html']}"
        for fault in Axe().run(page).response["violations"]
        if fault["impact"] in ("serious", "critical")
    ]
