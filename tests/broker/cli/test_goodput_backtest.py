"""`mlbroker backtest --goodput` as a user calls it."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import Result
from tests.support.trainings import MODELS, Row, unchanged, write_tables
from typer.testing import CliRunner

from mlbroker.broker.cli import build_app
from mlbroker.broker.errors import InputError
from mlbroker.policies.adapt import STRATEGIES

SCHEMA = json.loads(files("mlbroker.broker").joinpath("schemas/goodput-backtest.json").read_text())


def run(*words: object) -> Result:
    return CliRunner().invoke(build_app(["backtest"]), ["backtest", *map(str, words)])


def told(tables: tuple[Path, Path], *words: object) -> dict[str, Any]:
    result = run("--goodput", tables[0], "--epochs", tables[1], *words, "--json")
    assert result.exit_code == 0, result.stderr or result.exception
    document: dict[str, Any] = json.loads(result.stdout)
    jsonschema.validate(document, SCHEMA)
    return document


def refused(tables: tuple[Path, Path], *words: object) -> InputError:
    error = run("--goodput", tables[0], "--epochs", tables[1], *words).exception
    assert isinstance(error, InputError), error
    return error


def test_each_job_is_held_against_the_clairvoyant(tmp_path: Path) -> None:
    tables = write_tables(tmp_path)
    document = told(tables, "--job-hours", 8, "--deadline-factor", 0.25)
    assert [job["job"] for job in document["jobs"]] == [model.name for model in MODELS]
    for job in document["jobs"]:
        assert job["deadline_met"]
        assert job["took_s"] <= job["deadline_s"]
        assert job["deadline_s"] == pytest.approx((8 * 3600 + 60) / 4, rel=1e-3)
        assert job["all_in_usd"] == pytest.approx(
            job["all_in_ratio"] * job["clairvoyant_usd"], rel=1e-3
        )
        assert job["default_batch"] <= job["final_batch"] <= job["max_batch"]
    assert document == told(tables, "--job-hours", 8, "--deadline-factor", 0.25)


def test_a_growing_batch_is_far_cheaper_under_a_deadline_than_a_fixed_one(tmp_path: Path) -> None:
    tables = write_tables(tmp_path)
    words = ("--job-hours", 8, "--deadline-factor", 0.125)
    auto, fixed = (told(tables, *words, "--strategy", name) for name in ("auto", "fixed-batch"))
    assert auto["summary"]["deadline_miss_rate"] == 0
    assert all(job["final_batch"] == job["default_batch"] for job in fixed["jobs"])
    late_or_dearer = [
        not job["deadline_met"] or job["all_in_usd"] > 1.5 * other["all_in_usd"]
        for job, other in zip(fixed["jobs"], auto["jobs"], strict=True)
    ]
    assert all(late_or_dearer)


def test_every_strategy_side_by_side_on_eighty_columns(tmp_path: Path) -> None:
    steps, epochs = write_tables(tmp_path, MODELS[:2])
    shown = run("--goodput", steps, "--epochs", epochs, "--compare", "--job-hours", 1)
    assert shown.exit_code == 0, shown.exception
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["strategy", *STRATEGIES]
    assert max(map(len, shown.stdout.splitlines())) <= 80


def broken(column: str, text: str, of: str = "small") -> Any:
    def change(row: Row) -> Row:
        return row | {column: text} if row["job"] == of else row

    return change


@pytest.mark.parametrize(
    ("table", "column", "text", "says"),
    [
        (0, "step_time_s", "nan", "'nan' is not a number of more than 0"),
        (0, "step_time_s", "", "the cell is empty"),
        (0, "gpu", "", "the cell is empty"),
        (0, "local_batch", "2.5", "2.5 is not a whole number"),
        (0, "price_per_hour_usd", "0", "'0' is not a number of more than 0"),
        (1, "grad_var", "-1", "'-1' is not a number of more than 0"),
        (1, "grad_sqr", "0", "'0' is not a number of more than 0"),
        (1, "grad_var", "inf", "'inf' is not a number of more than 0"),
        (1, "restart_s", "-5", "'-5' is not a number of zero or more"),
        (1, "default_batch", "7", "has no epochs at its default batch, 7"),
        (1, "iteration", "5", "iteration and progress must grow"),
        (1, "epoch", "1", "epoch 1 at batch 64 is there twice"),
    ],
)
def test_a_bad_cell_is_named(tmp_path: Path, table: int, column: str, text: str, says: str) -> None:
    changes = [unchanged, unchanged]
    changes[table] = broken(column, text)
    tables = write_tables(tmp_path, steps=changes[0], epochs=changes[1])
    error = refused(tables)
    assert says in error.what
    assert str(tables[table]) in str(error.where)
    assert "line" in str(error.where)


def test_what_is_lacking_is_named(tmp_path: Path) -> None:
    steps, epochs = write_tables(tmp_path)

    def error(*words: object) -> InputError:
        found = run(*words).exception
        assert isinstance(found, InputError), found
        return found

    assert error("--goodput", steps).where == "--epochs"
    assert error("--epochs", epochs).where == "--goodput"
    assert error().where == "TABLE"
    assert error(steps, "--goodput", steps, "--epochs", epochs).where == "--table"
    assert "no such file" in error("--goodput", tmp_path / "no.csv", "--epochs", epochs).what
    assert "no column gpu" in error("--goodput", epochs, "--epochs", epochs).what
    assert "no column default_batch" in error("--goodput", steps, "--epochs", steps).what
    assert refused((steps, epochs), "--strategy", "autp").hint == "did you mean auto?"
    assert refused((steps, epochs), "--only", "nobody").where == "--only"
    assert refused((steps, epochs), "--job-hours", "-1").where == "--job-hours"
    assert refused((steps, epochs), "--deadline-factor", "nan").where == "--deadline-factor"


def leave_out(**cells: object) -> Any:
    def change(row: Row) -> Row | None:
        return None if all(row[name] == cell for name, cell in cells.items()) else row

    return change


def test_a_hole_in_the_course_is_an_error_and_a_shorter_course_is_left_out(tmp_path: Path) -> None:
    tables = write_tables(tmp_path, epochs=leave_out(job="small", batch_size=128, epoch=3))
    assert "has no epoch 3 at batch 128" in refused(tables).what

    def cut(row: Row) -> Row | None:
        return None if row["batch_size"] == 1024 and row["epoch"] > 5 else row

    steps, epochs = write_tables(tmp_path, MODELS[:1], epochs=cut)
    shown = run("--goodput", steps, "--epochs", epochs, "--json")
    assert "trained for 5 of 20 epochs at batch 1024: it is left out" in shown.stderr
    assert json.loads(shown.stdout)["jobs"][0]["max_batch"] == 512


def test_jobs_of_one_table_alone_are_left_out_and_none_in_both_is_an_error(tmp_path: Path) -> None:
    tables = write_tables(tmp_path, MODELS[:2], epochs=leave_out(job="wide"))
    result = run("--goodput", tables[0], "--epochs", tables[1], "--json")
    assert [job["job"] for job in json.loads(result.stdout)["jobs"]] == ["small"]
    assert "there is nothing of job 'wide': it is left out" in result.stderr
    tables = write_tables(
        tmp_path, MODELS[:2], steps=leave_out(job="small"), epochs=leave_out(job="wide")
    )
    assert "no job of it is in" in refused(tables).what


def of_types(*types: str) -> Any:
    def change(row: Row) -> Row | None:
        return row if row["gpu"] in types else None

    return change


def test_one_gpu_type_and_one_job_and_types_nobody_knows_are_played(tmp_path: Path) -> None:
    def renamed(row: Row) -> Row | None:
        return row | {"gpu": "Mystery 9"} if row["gpu"] == "T4" else None

    for change, says in ((of_types("A100"), "no past jobs"), (renamed, "no data sheet of 'Mys")):
        steps, epochs = write_tables(tmp_path, MODELS[:1], steps=change)
        result = run("--goodput", steps, "--epochs", epochs, "--json", "--deadline-factor", 1)
        assert says in result.stderr
        (job,) = json.loads(result.stdout)["jobs"]
        assert job["clairvoyant_in_time"]
        assert job["all_in_ratio"] > 0.9


def test_without_times_on_one_gpu_there_is_no_measure(tmp_path: Path) -> None:
    tables = write_tables(tmp_path, steps=leave_out(job="small", gpus=1))
    assert "was not measured on one GPU" in refused(tables).what


def test_a_hopeless_deadline_is_said(tmp_path: Path) -> None:
    steps, epochs = write_tables(tmp_path, MODELS[:1])
    shown = run("--goodput", steps, "--epochs", epochs, "--deadline-factor", 0.001)
    assert shown.exit_code == 0, shown.exception
    assert "Nothing is in time for small" in shown.stderr
    assert max(map(len, shown.stdout.splitlines())) <= 80


def test_a_default_batch_that_no_pass_fits_is_refused_and_an_odd_one_is_played(
    tmp_path: Path,
) -> None:
    def large(row: Row) -> Row | None:
        return row if int(row["local_batch"]) > 64 else None

    assert (
        "cannot be made of the local batches"
        in refused(write_tables(tmp_path, MODELS[:1], steps=large)).what
    )
    # 67 samples in two passes of equal size are 66 or 68.
    odd = (MODELS[0]._replace(default_batch=67),)

    def small(row: Row) -> Row | None:
        return row if int(row["local_batch"]) < 64 else None

    document = told(write_tables(tmp_path, odd, steps=small), "--strategy", "fixed-batch")
    assert document["jobs"][0]["final_batch"] == 68
