"""The report's page as its reader has it: what it shows, in dark and narrow, and hostile names."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, expect
from tests.support.browser import needs_chart_library, opened, serious_faults
from tests.support.plan_pages import HOSTILE
from tests.support.report_ledgers import END, Made, many, write

from mlbroker.broker.app.report import report
from mlbroker.broker.app.watch_budget import alerts_of
from mlbroker.broker.files.policy_file import parse_policy
from mlbroker.broker.report.report import ReportQuery
from mlbroker.broker.report.report_page import report_page

pytestmark = needs_chart_library
MONTH = datetime(2026, 11, 1, tzinfo=UTC)
POLICY = "max_spend_per_month: {total: 40 USD}\nteams: {ops: [ada]}"
NODES = """nodes:
  - name: gpu-box
    host: 10.0.0.5
    hardware: {vcpus: 32, memory_gib: 128}
    cost: {purchase_usd: 9000, amortisation_years: 4}
"""


def page_of(home: Path, runs: list[Made]) -> Path:
    """The page of November, beside its ledger."""
    home.mkdir(exist_ok=True)
    write(home, runs)
    (home / "nodes.yaml").write_text(NODES)
    policy = parse_policy(POLICY, "p.yaml")
    made = report(ReportQuery(MONTH, MONTH + timedelta(days=30)), policy, home, END)
    file = home / "report.html"
    file.write_text(report_page(made, alerts_of(made.caps, made.open_runs, {}, policy, END)))
    return file


@pytest.fixture(scope="module")
def report_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_of(tmp_path_factory.mktemp("home"), list(many(250, 40, seed=2)))


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 400)])
def test_all_of_it_is_drawn_and_can_be_read(
    browser: Browser, report_file: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    with opened(browser, report_file, scheme=scheme, width=width) as page:
        names = page.locator("figure .chart").get_by_role("img")
        assert names.count() == 5
        for title in ("Alerts", "What is left of the caps", "Own machines", "By project", "Runs"):
            assert page.get_by_role("heading", name=title, exact=True).count() == 1
        for summary in page.locator("summary").all():
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert serious_faults(page) == []


def test_a_day_says_what_was_spent_on_it(browser: Browser, report_file: Path) -> None:
    with opened(browser, report_file) as page:
        page.locator("figure .mark-rect path").first.hover(force=True)
        expect(page.locator("#vg-tooltip-element.visible")).to_contain_text("2026-11-")


def test_runs_are_filtered(browser: Browser, report_file: Path) -> None:
    with opened(browser, report_file) as page:
        runs = page.get_by_role("region", name="Runs")
        page.get_by_role("combobox", name="user").select_option("bob")
        users = runs.locator("tbody tr td:nth-child(4)").all_inner_texts()
        assert set(users) == {"bob"}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_shown_and_run_nothing(
    browser: Browser, tmp_path: Path, text: str
) -> None:
    run = Made(MONTH + timedelta(days=3), 1.0, predicted_h=1.0)
    named = replace(run, job=text, user=text, project=text)
    file = page_of(tmp_path, [named, replace(run, at=END - timedelta(hours=2), outcome=None)])
    with opened(browser, file) as page:
        assert text in page.get_by_role("region", name="Runs").inner_text()


def test_an_empty_month_says_so(browser: Browser, tmp_path: Path) -> None:
    with opened(browser, page_of(tmp_path, [])) as page:
        expect(page.get_by_text("No run was reserved in this time.")).to_be_visible()
