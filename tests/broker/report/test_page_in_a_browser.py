"""A plan's page as its reader has it: drawn, hovered over, sorted, filtered, in dark, narrow."""

from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from tests.support.browser import needs_chart_library, opened, serious_faults
from tests.support.plan_pages import HOSTILE, some_book, some_plan

from mlbroker.broker.report.page import page as made_of
from mlbroker.broker.report.parts import Chart, Table
from mlbroker.broker.report.plan_page import plan_page
from mlbroker.broker.report.rows import Figures, Rows, Words

pytestmark = needs_chart_library

# Painted where the first chart's machines that would not do, and that would, are.
PALE, FITTING = "#chart-4 .layer_0_marks path", "#chart-4 .layer_2_marks path"


@pytest.fixture(scope="module")
def plan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    book = some_book()
    file = tmp_path_factory.mktemp("page") / "plan.html"
    file.write_text(plan_page(some_plan(book), book))
    return file


def shown(page: Page, column: str) -> list[str]:
    """What the table of all machines shows in a column, top to bottom."""
    table = page.get_by_role("region", name="All machines")
    place = table.locator("th").all_inner_texts().index(column)
    return table.locator(f"tbody tr td:nth-child({place + 1})").all_inner_texts()


def test_every_chart_is_drawn_and_says_what_it_shows(browser: Browser, plan_file: Path) -> None:
    with opened(browser, plan_file) as page:
        charts = page.locator("figure .chart")
        assert charts.count() == 4
        for number in range(4):
            picture = charts.nth(number).get_by_role("img")
            assert picture.get_attribute("aria-label")
            box = picture.bounding_box()
            assert box is not None
            assert box["width"] > 600
            assert box["height"] > 60
        assert page.locator(FITTING).count() == 6
        assert page.locator(PALE).count() == 38


def test_hovering_says_why_not(browser: Browser, plan_file: Path) -> None:
    with opened(browser, plan_file) as page:
        page.locator(PALE).first.hover(force=True)
        tip = page.locator("#vg-tooltip-element.visible")
        expect(tip).to_contain_text("90% sure only ")
        expect(tip).to_contain_text(" USD" if "over budget" in tip.inner_text() else "too slow")


def test_each_chart_can_be_read_in_a_table(browser: Browser, plan_file: Path) -> None:
    with opened(browser, plan_file) as page:
        page.locator("figure a").first.press("Enter")
        expect(page.get_by_role("heading", name="All machines")).to_be_in_viewport()
        for summary in page.locator("summary").all():
            summary.press("Enter")
        tables = page.locator("figure table")
        assert tables.count() == 3
        for number in range(3):
            expect(tables.nth(number)).to_be_visible()


def test_the_table_is_sorted_by_keyboard_alone(browser: Browser, plan_file: Path) -> None:
    with opened(browser, plan_file) as page:
        focus(page, "button", "Cost $")
        page.keyboard.press("Enter")
        costs = shown(page, "Cost $")
        known = [float(cost) for cost in costs if cost != "-"]
        assert known == sorted(known)
        assert costs[len(known) :] == ["-"] * 4
        page.keyboard.press("Space")
        again = shown(page, "Cost $")
        assert [float(cost) for cost in again if cost != "-"] == sorted(known, reverse=True)
        # What is unknown comes last either way.
        assert again[len(known) :] == ["-"] * 4
        assert page.locator("th[aria-sort=descending]").inner_text() == "Cost $"


def test_filters_work_by_keyboard_alone_and_narrow_the_chart(
    browser: Browser, plan_file: Path
) -> None:
    with opened(browser, plan_file) as page:
        focus(page, "combobox", "Cloud")
        page.keyboard.type("gcp")
        expect(page.get_by_role("status")).to_have_text("16 rows that match, of 48")
        assert set(shown(page, "Cloud")) == {"gcp"}
        expect(page.locator(PALE)).to_have_count(11)
        focus(page, "searchbox", "Because")
        page.keyboard.type("SURE ONLY AFTER")
        assert set(shown(page, "Verdict")) == {"too slow"}
        focus(page, "spinbutton", "Cost $ at most")
        page.keyboard.type("2.5")
        assert [float(cost) < 2.5 for cost in shown(page, "Cost $")] == [True, True]
        focus(page, "button", "Clear")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_have_text("48 rows")
        expect(page.locator(FITTING)).to_have_count(6)


def focus(
    page: Page, role: Literal["button", "combobox", "searchbox", "spinbutton"], name: str
) -> None:
    """Reach it with the tab key, and see that the reader can tell where the focus is."""
    wanted = page.get_by_role(role, name=name, exact=True).element_handle()
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("wanted => document.activeElement === wanted", wanted):
            style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert style == "solid"
            return
    raise AssertionError(f"no tab leads to {name}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 400])
def test_it_can_be_read_in_light_and_dark_wide_and_narrow(
    browser: Browser, plan_file: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    with opened(browser, plan_file, scheme=scheme, width=width) as page:
        for summary in page.locator("summary").all():
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert serious_faults(page) == []


def test_charts_follow_the_reader_from_light_to_dark_and_to_paper(
    browser: Browser, plan_file: Path
) -> None:
    def label(page: Page) -> Locator:
        return page.locator("#chart-4 .role-axis-label text").first

    with opened(browser, plan_file) as page:
        light = label(page).get_attribute("fill") or ""
        page.emulate_media(color_scheme="dark")
        expect(label(page)).not_to_have_attribute("fill", light)
        dark = label(page).get_attribute("fill") or ""
        page.emulate_media(color_scheme="dark", media="print")
        expect(label(page)).not_to_have_attribute("fill", dark)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(255, 255, 255)"
        )


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_shown_and_run_nothing(
    browser: Browser, tmp_path: Path, text: str
) -> None:
    kinds = tuple(kind._replace(name=f"{text}{kind.name}") for kind in some_book().kinds)
    book = some_book(kinds)
    file = tmp_path / "plan.html"
    plan = some_plan(book, name=text, takes=None)
    rows = Rows([
        Words("name", text, [text, text]), Figures("usd", text, [1, 2], lambda usd: f"{text}{usd}"),
    ])  # fmt: skip
    spec = {
        "title": text,
        "height": 80,
        "mark": "bar",
        "encoding": {
            "y": {"field": "name", "type": "nominal", "title": text},
            "x": {"field": "usd", "type": "quantitative"},
            "color": {"field": "name"},
            "tooltip": [{"field": "usd_text", "title": text}, {"field": "name"}],
        },
    }
    file.write_text(plan_page(plan, book))
    with opened(browser, file) as page:
        assert page.locator("h1").inner_text().startswith(text)
        page.locator(FITTING).first.hover(force=True)
        expect(page.locator("#vg-tooltip-element.visible")).to_contain_text(text)
        page.get_by_role("button", name="Type", exact=True).click()
        assert shown(page, "Type")[0].startswith(text)
    file.write_text(
        made_of(text, [Chart(text, spec, rows, text), Table(text, rows, None, ["name"])])
    )
    with opened(browser, file) as page:
        page.locator("#chart-1 .mark-rect path").first.hover(force=True)
        expect(page.locator("#vg-tooltip-element.visible")).to_contain_text(text)
        assert text in (page.locator("#chart-1 svg").text_content() or "")


def test_the_rest_of_a_long_table_comes_when_asked_for(browser: Browser, tmp_path: Path) -> None:
    numbers = list(range(700))
    rows = Rows([Figures("number", "Number", numbers, str)])
    file = tmp_path / "long.html"
    file.write_text(made_of("Long", [Table("Numbers", rows)]))
    with opened(browser, file) as page:
        count, lines = page.get_by_role("status"), page.locator("tbody tr")
        expect(count).to_have_text("The first 50 of 700 rows")
        page.get_by_role("button", name="Show 200 more").press("Enter")
        expect(lines).to_have_count(250)
        page.get_by_role("button", name="Show all").press("Enter")
        expect(lines).to_have_count(700)
        # Who pressed it goes on where the new rows begin.
        assert page.evaluate("document.activeElement.textContent") == "250"
        expect(page.get_by_role("button", name="Show all")).to_be_hidden()
