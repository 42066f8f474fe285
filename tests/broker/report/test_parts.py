"""Page parts: what stands in the file, whatever is written into it."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest

from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.report import library
from mlbroker.broker.report.page import page
from mlbroker.broker.report.parts import Chart, KeyFigure, KeyFigures, Notes, Prose, Table
from mlbroker.broker.report.rows import Figures, Rows, Words, json_island, rows_of

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"' onmouseover=alert(1) x='",
    "<!--<script>",
    "\u2028\u2029\u202e\x00\x1b[2J\ud800",
)
SPEC = {"mark": "point", "encoding": {"x": {"field": "cost", "type": "quantitative"}}}


@pytest.fixture(autouse=True)
def library_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are about the page, also where the library was never built."""
    monkeypatch.setattr("mlbroker.broker.report.page.chart_library", lambda: "// charts")


def money(amount: Decimal) -> str:
    return f"{amount:.2f} USD"


def some(count: int) -> Rows:
    names = [f"m{number}" for number in range(count)]
    costs = [None if number == 1 else Decimal(number) / 3 for number in range(count)]
    return Rows([Words("name", "Name", names), Figures("cost", "Cost", costs, money)], marked=0)


class Read(HTMLParser):
    """The elements of a page, and the JSON of its islands."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.islands: dict[str, Any] = {}
        self._island: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        self._island = given["id"] if given.get("type") == "application/json" else None

    def handle_data(self, data: str) -> None:
        if self._island is not None:
            self.islands[self._island] = json.loads(data)
            self._island = None
        else:
            self.texts.append(data)

    def named(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (given for name, given in self.tags if name == tag)


def test_an_island_has_each_text_once_and_figures_as_numbers_and_as_text() -> None:
    rows = Rows([
        Words("cloud", "Cloud", ["aws", "gcp", "aws", None]),
        Figures("cost", "Cost", [Decimal("1.5"), None, float("nan"), float("inf")], money),
    ])  # fmt: skip
    assert json.loads(rows.island()) == {
        "rows": 4,
        "marked": None,
        "columns": [
            {"name": "cloud", "head": "Cloud", "texts": ["aws", "gcp", "unknown"],
             "at": [0, 1, 0, 2]},
            {"name": "cost", "head": "Cost", "texts": ["1.50 USD", "unknown"], "at": [0, 1, 1, 1],
             "numbers": [1.5, None, None, None]},
        ],
    }  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_was_written_is_more_than_text(text: str) -> None:
    rows = rows_of([{"name": text, "cost": 1}], {"name": text, "cost": ("Cost", str)})
    made = page(
        text,
        [
            Prose(text, title=text),
            KeyFigures([KeyFigure(text, text, text)]),
            Chart(text, SPEC | {"title": text}, rows, text),
            Table(text, rows, filters=["name"]),
            Notes([(text, text)], text),
        ],
    )
    made.encode()  # no lone surrogate
    read, plain = Read(made), Read(page("t", [Table("t", rows), Chart("t", SPEC, rows, "t")]))
    assert [given.get("type") for given in read.named("script")] == [
        given.get("type") for given in plain.named("script")
    ]
    assert not list(read.named("img"))
    assert not [g for _, given in read.tags for g in given if g.startswith("on")]
    assert "\u202e" not in made
    assert "\x1b" not in made


def test_what_looks_like_a_template_is_text() -> None:
    assert "<p>{{ 7 * 7 }} {% raw %}</p>" in page("t", [Prose("{{ 7 * 7 }} {% raw %}")])


@pytest.mark.parametrize("text", [*HOSTILE[:-1], "</script x", "<!--<script x", "&lt;", "\u2028"])
def test_no_character_of_html_stands_in_an_island(text: str) -> None:
    written = json_island({text: [text]})
    assert not set("<>&\u2028\u2029") & set(written)
    assert json.loads(written) == {text: [text]}


def test_json_that_json_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_island({"x": float("nan")})


def test_columns_are_of_one_length() -> None:
    with pytest.raises(ValueError, match="different length"):
        Rows([Words("a", "A", ["x"]), Words("b", "B", [])])


def test_the_first_rows_stand_in_the_page_and_the_rest_in_the_island() -> None:
    read = Read(page("t", [Table("All", some(70))]))
    assert len(list(read.named("tr"))) == 1 + 50
    assert read.islands["rows-0"]["rows"] == 70
    assert [given for given in read.named("tr") if given.get("class") == "marked"]
    assert "The first 50 of 70 rows" in read.texts


def test_what_is_unknown_says_so() -> None:
    texts = Read(page("t", [Table("All", some(3))])).texts
    assert [text for text in texts if text.endswith("USD") or text == "unknown"] == [
        "0.00 USD", "unknown", "0.67 USD",
    ]  # fmt: skip


def test_charts_and_tables_of_the_same_rows_share_one_island() -> None:
    rows, other = some(5), some(4)
    parts = [Chart("a", SPEC, rows, "a"), Table("b", rows), Chart("c", SPEC, other, "c")]
    read = Read(page("t", parts))
    assert set(read.islands) == {"rows-0", "rows-1", "spec-1", "spec-3"}
    # The first chart's rows are in the table; the last one brings its own.
    (link,) = read.named("a")
    assert link["href"] == "#title-2"
    assert [given["data-table"] for given in read.named("details")] == ["1"]
    assert len(list(read.named("table"))) == 2


def test_filters_offer_a_list_where_it_is_short() -> None:
    few = Read(page("t", [Table("a", some(5), filters=["name", "cost"])]))
    many = Read(page("t", [Table("a", some(500), filters=["name"])]))
    assert [given["data-filter"] for given in few.named("select")] == ["name"]
    assert [given["type"] for given in few.named("input")] == ["number"]
    assert not list(many.named("select"))
    assert [given["type"] for given in many.named("input")] == ["search"]


def test_only_the_pages_own_scripts_may_run() -> None:
    made = page("t", [Chart("a", SPEC, some(5), "a")])
    (policy,) = (
        given["content"] or ""
        for given in Read(made).named("meta")
        if given.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert policy.count("'sha256-") == 2
    assert "unsafe-eval" not in policy
    assert not re.search(r"(src|href)=\"(?!#)", made)


def test_a_page_without_charts_carries_no_library() -> None:
    assert "// charts" in page("t", [Chart("a", SPEC, some(2), "a")])
    assert "// charts" not in page("t", [Table("a", some(2))])


def test_a_copy_that_was_never_built_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    library.asset.cache_clear()
    with pytest.raises(MlbrokerError, match="no chart library") as caught:
        library.chart_library()
    assert "pip install -e ." in str(caught.value)
