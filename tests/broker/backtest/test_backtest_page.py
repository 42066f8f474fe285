"""The page of a back-test: every choice of every strategy, and what they come to."""

import math
import re

import pytest
from tests.support.synthetic_tables import synthetic_rows

from mlbroker.broker.backtest.backtest_page import Outcome, backtest_page
from mlbroker.broker.backtest.past import Library
from mlbroker.broker.backtest.table import understand
from mlbroker.broker.backtest.trials import Setting, document, play


@pytest.fixture(scope="module")
def results() -> list[Outcome]:
    game = understand(synthetic_rows(), "runs.csv", print)
    library = Library(game)
    settings = [Setting(name, deadline_factor=2.0) for name in ("most-usual", "all-probed")]
    return [
        (document("/home/me/runs.csv", each, play(game, library, each)), 1.0, 2.0)
        for each in settings
    ]


@pytest.fixture
def page(results: list[Outcome], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("mlbroker.broker.report.page.chart_library", lambda: "// charts")
    return backtest_page(results)


def test_every_choice_has_a_row_and_every_strategy_its_means(
    page: str, results: list[Outcome]
) -> None:
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", page)
    for told, _, _ in results:
        assert cells.count(told["strategy"]) >= 1 + len(told["jobs"])
        assert f"{told['summary']['all_in_ratio']:.2f}" in cells
    assert "8 jobs of runs.csv, each as it ran, by a deadline of 2 times its fastest run" in page
    # Neither predicts anything.
    assert cells[cells.index("most-usual") :][:9].count("-") == 2


def test_who_tries_everything_chooses_the_best(page: str, results: list[Outcome]) -> None:
    usual = results[0][0]["jobs"]
    at_best = sum(math.isclose(job["cost_ratio"], 1, abs_tol=0.005) for job in usual) / len(usual)
    assert f"The best itself chose: most-usual {at_best:.0%}, all-probed 100%" in page


def test_a_path_of_the_users_machine_is_not_on_the_page(page: str) -> None:
    assert "/home/me" not in page
