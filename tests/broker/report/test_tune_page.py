"""A study's page: what a browser draws of it, and that nothing in it is more than a text."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser
from tests.support.browser import needs_chart_library, opened, serious_faults
from tests.support.studies import STUDY, AStudy
from typer.testing import CliRunner

from mlbroker.broker.cli import build_app
from mlbroker.broker.tuning.importance import importance_of
from mlbroker.broker.tuning.record import StudyState
from mlbroker.broker.tuning.writer import Writer
from mlbroker.profiles.search_space import Choice, Range

HOSTILE = "</script><img src=x onerror=alert(1)>"
SPACE = {
    "LR": Range(1e-4, 1.0, log=True),
    "N": Range(1, 4, whole=True),
    "KIND": Choice((HOSTILE, "--accent", "b")),
}


def recorded(study: AStudy, trials: int) -> StudyState:
    """As a lane writes it down: one trial failed, one is no number, some went on."""
    study.begin()
    (study.folder / "train.py").unlink()
    writer = Writer(study.record)
    with writer.alone():
        for number in range(trials):
            kind = SPACE["KIND"].at(number % 3 / 3)
            point = {"LR": 10.0 ** -(number % 4), "N": 1 + number % 4, "KIND": kind}
            writer.add(kind="trial", trial=number, point=point, grace=1)
            until = 9 if number % 4 == 0 else 1
            writer.add(kind="works", trial=number, until=until)
            if number == 1:
                writer.add(kind="failed", trial=number, until=1, why=HOSTILE, seconds=0.1)
                continue
            for at in range(1, until + 1):
                value = None if number == 2 else 0.1 * at + 0.01 * number
                writer.add(kind="metric", trial=number, at=at, value=value)
            writer.add(kind="worked", trial=number, until=until, seconds=0.5)
    writer.close()
    return writer.state


def page_of(study: AStudy, *words: str) -> Path:
    file = study.folder / "page.html"
    words = ("tune", "show", "s", "--html", str(file), *words)
    done = CliRunner().invoke(build_app(["tune"]), words, env={"MLBROKER_HOME": str(study.state)})
    assert done.exit_code == 0, done.output
    return file


@needs_chart_library
@pytest.mark.parametrize("goal", ["maximize", "minimize"])
def test_it_is_drawn(browser: Browser, tmp_path: Path, goal: str) -> None:
    study = AStudy(tmp_path, STUDY._replace(space=SPACE, more_is_better=goal == "maximize"))
    found = recorded(study, 16)
    charts = 3 if importance_of(found) is None else 4
    with opened(browser, page_of(study), width=400) as page:
        text = page.locator("body").inner_text()
        assert "15 trials, of which 4 whole (9)" in text
        assert "2 trials left out" in text
        assert HOSTILE in text, "it is read, and not run"
        assert page.locator("img").count() == 0
        assert page.locator(".chart [role=img]").count() == charts
        assert page.evaluate("document.documentElement.scrollWidth") == 400
        assert serious_faults(page) == []


@needs_chart_library
def test_a_study_that_has_told_nothing_has_a_page(browser: Browser, tmp_path: Path) -> None:
    study = AStudy(tmp_path, STUDY._replace(space=SPACE))
    recorded(study, 0)
    with opened(browser, page_of(study)) as page:
        assert "No trial has told acc yet" in page.locator("body").inner_text()


def test_a_page_is_of_one_study(tmp_path: Path) -> None:
    words = ["tune", "show", "--html", str(tmp_path / "x.html")]
    done = CliRunner().invoke(build_app(["tune"]), words, env={"MLBROKER_HOME": str(tmp_path)})
    assert "a page is of one study" in str(done.exception)


def test_what_matters_is_said_of_enough_trials_that_differ(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    study = AStudy(tmp_path, STUDY._replace(space=SPACE))
    found = recorded(study, 20)
    told = importance_of(found)
    assert told is not None
    assert set(told.shares) == set(SPACE)
    assert sum(told.shares.values()) == pytest.approx(1)
    assert (told.step, told.trials) == (1, 18)
    few = StudyState(found.study)
    few.trials = found.trials[:9]
    assert importance_of(few) is None
    for each in found.trials:
        each.trial.best = [0.5] * len(each.trial.best)
    assert importance_of(found) is None
