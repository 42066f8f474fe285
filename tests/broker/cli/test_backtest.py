import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from tests.support.cli import mlbroker
from tests.support.synthetic_tables import synthetic_rows, write_table

SCHEMA = json.loads(files("mlbroker.broker").joinpath("schemas/backtest.json").read_text())


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("tables") / "runs.csv", synthetic_rows())


@pytest.mark.parametrize("strategy", ["auto", "fastest"])
def test_json_follows_its_schema(table: Path, tmp_path: Path, strategy: str) -> None:
    done = mlbroker(
        *("backtest", table, "--strategy", strategy, "--job-hours", "8", "--json"),
        *("--deadline-factor", "1.5"),
        home=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, SCHEMA)
    assert document["strategy"] == strategy
    assert len(document["jobs"]) == 8


def test_a_table_for_people_and_a_comparison(table: Path, tmp_path: Path) -> None:
    one = mlbroker("backtest", table, "--only", "job-0-0", home=tmp_path)
    assert one.returncode == 0, one.stderr
    assert "job-0-0" in one.stdout
    assert "job-1-0" not in one.stdout
    many = mlbroker("backtest", table, "--compare", "--history", "none", home=tmp_path)
    for name in ("auto", "random-3", "all-probed"):
        assert name in many.stdout


def test_a_single_candidate_is_chosen(tmp_path: Path) -> None:
    rows = [row for row in synthetic_rows() if row.config == "r9.4xlarge"]
    path = write_table(tmp_path / "one.csv", rows)
    document = json.loads(mlbroker("backtest", path, "--json", home=tmp_path).stdout)
    for job in document["jobs"]:
        assert (job["chosen"], job["all_in_ratio"], job["probes"]) == ("r9.4xlarge", 1.0, [])


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--strategy", "magic"], "random-3"),
        (["--only", "nobody"], "nobody"),
        (["--job-hours", "nan"], "--job-hours"),
        (["--deadline-factor", "0"], "--deadline-factor"),
        (["--setup-s", "inf"], "--setup-s"),
    ],
)
def test_bad_options_name_themselves(
    table: Path, tmp_path: Path, options: list[str], word: str
) -> None:
    done = mlbroker("backtest", table, *options, home=tmp_path)
    assert done.returncode == 2
    assert word in done.stderr
    assert "Traceback" not in done.stderr
