"""An option that would change nothing is refused: who gives one expects something of it."""

from pathlib import Path

import pytest
from tests.support.mlbroker import Cli

HERE = ["run", "--on", "local", "--local-price", "1", "--budget", "1", "--yes"]
IGNORED = [
    (["profile", "--yes", "--cloud", "aws"], "--cloud"),
    (["profile", "--yes", "--on", "local", "--region", "us-east-1"], "--region"),
    (["profile", "--yes", "--nodes", "mine.yaml"], "--nodes"),
    (["profile", "--yes", "--instance-type", "m5.large", "--on", "box"], "--on"),
    (["profile", "--yes", "--auto", "--on", "box"], "--on"),
    (["profile", "--yes", "--auto", "--html", "page.html"], "--html"),
    ([*HERE, "--instance-type", "m5.large"], "--instance-type"),
    ([*HERE, "--cloud", "aws"], "--cloud"),
    ([*HERE, "--auto-profile"], "--auto-profile"),
    ([*HERE, "--measure", "table.csv"], "--measure"),
    ([*HERE, "--idle-after", "5m"], "--idle-after"),
    (["check", "--behavior", "new"], "--behavior"),
    (["check", "--dry-run"], "--dry-run"),
    (["check", "--json", "--format", "junit"], "--format"),
]


@pytest.mark.parametrize(("words", "option"), IGNORED, ids=[" ".join(w) for w, _ in IGNORED])
def test_it_is_refused_before_anything_starts(
    tmp_path: Path, words: list[str], option: str
) -> None:
    cli = Cli(tmp_path)
    answer = cli(*words, cli.job("touch started"))
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"Error: {option}: has no effect with")
    assert not (tmp_path / "started").exists()
    assert not list(cli.home.glob("*")), "nothing is reserved or measured"


def test_a_span_of_idleness_that_is_none_is_refused_before_the_question(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    answer = cli(*HERE, "--on-idle", "stop", "--idle-after", "soon", "--dry-run", cli.job("true"))
    assert answer.returncode == 2
    assert "--idle-after: 'soon' is not a duration" in answer.stderr


@pytest.mark.parametrize("name", ["export", "verify"])
def test_a_filter_of_the_ledger_goes_after_the_command(tmp_path: Path, name: str) -> None:
    answer = Cli(tmp_path)("ledger", "--month", "2026-10", name)
    assert answer.returncode == 2
    assert f"--month: has no effect before `{name}`: it goes after it" in answer.stderr
