"""The pages of replays and back-tests, drawn by a browser: nothing it complains of."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser
from tests.support.browser import needs_chart_library, opened
from tests.support.cli import mlbroker
from tests.support.indexed import indexed
from tests.support.synthetic_tables import synthetic_rows, write_table

pytestmark = needs_chart_library
TRACE = [f"{tick * 300},--<b>zone</b>,{int(tick % 9 > 2)},0.5" for tick in range(60)]


@pytest.mark.parametrize("command", ["replay", "backtest"])
def test_their_pages_are_drawn(browser: Browser, tmp_path: Path, command: str) -> None:
    if command == "replay":
        source = tmp_path / "trace.csv"
        head = "time_s,zone,available,spot_price_per_hour_usd"
        source.write_text("\n".join([head, *TRACE]) + "\n")
        options = ("--work-h", "1", "--deadline-h", "2", "--on-demand-price-per-hour-usd", "2")
        charts = 2 + 5
    else:
        source, options, charts = tmp_path / "runs.csv", ("--job-hours", "2"), 2
        write_table(source, synthetic_rows())
    file, home = tmp_path / "page.html", indexed(tmp_path / "home")
    done = mlbroker(command, source, *options, "--compare", "--html", file, home=home)
    assert done.returncode == 0, done.stderr
    with opened(browser, file, width=400) as page:
        if command == "replay":
            # Named like a colour of the page, and like markup.
            assert "--<b>zone</b>" in (page.locator("#chart-5 svg").text_content() or "")
        assert page.locator(".chart [role=img]").count() == charts
        assert page.evaluate("document.documentElement.scrollWidth") == 400
        faults = Axe().run(page).response["violations"]
        assert [fault["id"] for fault in faults if fault["impact"] in ("serious", "critical")] == []
