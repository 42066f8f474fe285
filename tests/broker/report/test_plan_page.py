"""What a plan's page holds: every machine, what is unknown, and the figures of its charts."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from tests.support.plan_pages import some_book, some_plan

from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.report import library
from mlbroker.broker.report.parts import Chart
from mlbroker.broker.report.plan_carbon import by_region, carbon_chart
from mlbroker.broker.report.plan_charts import cost_chart, field_chart, step_chart
from mlbroker.broker.report.plan_page import plan_page
from mlbroker.broker.report.plan_rows import FITS, machine_rows
from mlbroker.broker.report.rows import Figures, Rows
from mlbroker.broker.report.specs import axis, share_along
from mlbroker.policies.planner.plan import Plan

BOOK = some_book()
PLAN = some_plan(BOOK)


def texts(rows: Rows, name: str) -> list[str]:
    return rows.column(name).texts()


def numbers(rows: Rows, name: str) -> list[float | None]:
    column = rows.column(name)
    assert isinstance(column, Figures)
    return column.numbers()


def marks(chart: Chart | None) -> list[Mapping[str, Any]]:
    assert chart is not None
    return [layer["mark"] for layer in chart.spec["layer"]]


def test_every_quote_and_every_rejection_has_a_row_the_nearest_misses_first() -> None:
    rows = machine_rows(PLAN, BOOK)
    assert len(rows) == len(PLAN.quotes) + len(PLAN.rejected) == 48
    verdicts = texts(rows, "verdict")
    assert verdicts[:6] == [FITS] * 6
    assert set(verdicts[6:]) == {"too slow", "over budget", "retired"}
    assert rows.marked == 0
    assert texts(rows, "type")[0] == PLAN.quotes[0].instance_type
    out = [usd for usd in numbers(rows, "usd")[6:] if usd is not None]
    assert out == sorted(out)
    assert numbers(rows, "usd")[6 + len(out) :] == [None] * 4


def test_what_was_not_worked_out_is_told_from_what_nobody_knows() -> None:
    rows = machine_rows(PLAN, BOOK)
    carbon = dict(zip(zip(texts(rows, "cloud"), texts(rows, "verdict"), strict=True),
                      texts(rows, "carbon"), strict=True))  # fmt: skip
    # Of the cloud gcp no region's grid is known; what is rejected was not reckoned so far.
    assert carbon["gcp", FITS] == "unknown"
    assert carbon["aws", FITS].endswith(" g")
    assert carbon["aws", "too slow"] == "-"
    assert 0 not in numbers(rows, "carbon")


def test_the_front_is_of_those_that_none_beats_in_both() -> None:
    rows = machine_rows(PLAN, BOOK)
    points = list(
        zip(numbers(rows, "hours"), numbers(rows, "usd"), texts(rows, "front"),
            texts(rows, "verdict"), strict=True)
    )  # fmt: skip
    fitting = [(h, usd, on) for h, usd, on, verdict in points if verdict == FITS]
    for hours, usd, on_front in fitting:
        assert hours is not None
        assert usd is not None
        beaten = any((h <= hours and u < usd) or (h < hours and u <= usd) for h, u, _ in fitting)
        assert (on_front == "yes") == (not beaten)
    assert {on for _, _, on, verdict in points if verdict != FITS} == {""}


def test_a_job_never_measured_has_no_time_and_no_cost_but_speed() -> None:
    plan = some_plan(BOOK, takes=None)
    rows = machine_rows(plan, BOOK)
    names = {column.name for column in rows.columns}
    assert "hours" not in names
    assert "speed" in names
    chart = field_chart(plan, rows)
    assert chart is not None
    assert chart.title == "What an hour costs, against speed"
    # Neither deadline nor budget were looked at.
    assert "rule" not in [mark["type"] for mark in marks(chart)]
    assert cost_chart(plan) is None
    assert step_chart(plan) is None


def test_deadline_and_budget_are_lines_where_there_are_any() -> None:
    chart = field_chart(PLAN, machine_rows(PLAN, BOOK))
    assert chart is not None
    said = [
        value["text"]
        for layer in chart.spec["layer"]
        if layer["mark"]["type"] == "text" and "data" in layer
        for value in layer["data"]["values"]
    ]
    assert said == ["deadline 5h33m", "budget 2.5 USD", "choice: aws.4", "choice: aws.4"]


def test_the_choices_cost_stands_beside_the_usual_machines() -> None:
    plan = replace(PLAN, baseline=PLAN.quotes[3])
    chart = cost_chart(plan)
    assert chart is not None
    for place, quote in ((0, PLAN.quotes[0]), (1, PLAN.quotes[3])):
        assert quote.cost_usd is not None
        parts = chart.rows.column("usd").values[4 * place : 4 * place + 4]
        assert sum(parts, Decimal(0)) == quote.cost_usd.expected
    assert len(chart.rows) == 8
    alone = cost_chart(PLAN)
    assert alone is not None
    assert len(alone.rows) == 4


def test_step_times_have_their_interval_and_what_they_rest_on() -> None:
    chart = step_chart(PLAN)
    assert chart is not None
    low, middle, high = (numbers(chart.rows, name) for name in ("p10", "p50", "p90"))
    assert all(a < b < c for a, b, c in zip(low, middle, high, strict=True) if a and b and c)
    assert set(texts(chart.rows, "basis")) == {"stated"}
    assert "as was said of the job" in chart.described
    step_s = PLAN.quotes[0].step_time_s
    assert step_s is not None
    assert texts(chart.rows, "p50")[0] == "2.5 h"
    assert middle[0] == pytest.approx(step_s.p50 / 3600)


def test_carbon_is_each_regions_own_and_the_choices_is_the_quotes() -> None:
    choice = PLAN.quotes[0]
    found = {each.region: each for each in by_region(choice, BOOK)}
    assert set(found) == {"a", "b"}
    assert found[choice.region].kg == pytest.approx(choice.carbon_kgco2e)
    assert found["a"].kg == pytest.approx(8 * (found["b"].kg or 0))  # grids of 0.4 and 0.05
    assert [each.region for each in by_region(choice, BOOK)] == ["b", "a"]


def test_a_region_whose_grid_is_unknown_is_said_to_be_so() -> None:
    book = replace(BOOK, places=[BOOK.places[0], BOOK.places[1]._replace(grid_kgco2e_per_kwh=None),
                                 *BOOK.places[2:]])  # fmt: skip
    plan = some_plan(book)
    chart = carbon_chart(plan, book)
    assert chart is not None
    assert texts(chart.rows, "kg")[-1] == "unknown"
    assert numbers(chart.rows, "kg")[-1] is None
    assert "Of 1 the grid or the power is unknown" in chart.described


def test_a_type_sold_in_one_region_has_no_chart_of_regions() -> None:
    prices = {key: usd for key, usd in BOOK.prices.items() if key[1] != 1}
    book = replace(BOOK, prices=prices)
    assert carbon_chart(some_plan(book), book) is None


def test_a_plan_without_a_choice_says_what_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlbroker.broker.report.page.chart_library", lambda: "// charts")
    plan = some_plan(BOOK, deadline_s=600)
    assert plan.choice is None
    text = plan_page(plan, BOOK)
    assert "Nothing chosen: no machine meets" in text
    assert "What would do: a deadline of" in text
    assert "too slow" in text


def test_a_plan_of_nothing_has_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlbroker.broker.report.page.chart_library", lambda: "// charts")
    empty: Plan = replace(PLAN, quotes=(), choice=None, rejected=(), rejections={}, feasible=0)
    assert "Nothing chosen" in plan_page(empty, BOOK)


def test_a_copy_without_the_chart_library_fails_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "LIBRARY", "absent.js")
    with pytest.raises(MlbrokerError, match="no chart library"):
        plan_page(PLAN, BOOK)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1.0, 30.0], "log"),
        ([1.0, 10.0], None),
        ([0.0, 30.0], None),
        ([0.0, 1.0, 30.0], "symlog"),
        ([], None),
    ],
)
def test_axes_are_logarithmic_where_figures_are_far_apart(
    values: list[float], kind: str | None
) -> None:
    assert axis("x", "X", values)["scale"].get("type") == kind


def test_the_signs_of_an_axis_with_free_machines_are_powers_of_ten() -> None:
    made = axis("usd", "USD", [0.0, 0.13, 366.0], usd=True)
    assert made["axis"]["values"] == [0, 1, 10, 100]
    assert made["scale"]["constant"] == 0.13


@pytest.mark.parametrize(
    ("value", "values", "share"),
    [
        (10, [1, 100], 0.5),
        (5, [2, 10], 0.5),
        (1, [1, 100], 0),
        (0, [0, 0], 0),
        (20, [1, 10], 2),
        (0, [0, 1, 99], 0),
        (9, [0, 1, 99], 0.5),
    ],
)
def test_where_on_an_axis_a_value_stands(value: float, values: list[float], share: float) -> None:
    assert share_along(value, values) == pytest.approx(share)
