"""`mlbroker plan --html`: the file, beside what the command says anyway."""

import json
from pathlib import Path

import pytest
from tests.support.cli import mlbroker

from mlbroker.broker.report.library import FOLDER, LIBRARY

JOB = """\
name: bert-ft
resources: {cpus: 2+, memory: 8+}
run: python train.py
broker:
  deadline: 6h
  budget: 25 USD
  work: {steps: 12000, hours: 0.8, on: m5.xlarge}
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(JOB)
    return path


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "plan.html"


built = pytest.mark.skipif(
    not (FOLDER / LIBRARY).exists(), reason="the chart library was not built (pip install -e .)"
)


@built
@pytest.mark.parametrize("options", [(), ("--top", "0"), ("--explain", "--top", "2")])
def test_a_plan_says_the_same_with_a_page_and_without(
    options: tuple[str, ...], job: Path, page: Path, home: Path
) -> None:
    plain = mlbroker("plan", job, *options, "--json", home=home)
    drawn = mlbroker("plan", job, *options, "--json", "--html", page, home=home)
    assert drawn.returncode == 0, drawn.stderr
    told, other = json.loads(plain.stdout), json.loads(drawn.stdout)
    assert told.pop("generated_at") <= other.pop("generated_at")
    assert [quote["instance_type"] for quote in told.pop("quotes")] == [
        quote["instance_type"] for quote in other.pop("quotes")
    ]
    assert told.get("rejected", []) == other.get("rejected", [])
    assert told["choice"] == other["choice"]
    assert told["rejections"] == other["rejections"]
    assert page.read_text().startswith("<!doctype html>")


@built
def test_what_is_there_is_written_over(job: Path, page: Path, home: Path) -> None:
    page.write_text("x" * 10_000_000)
    assert mlbroker("plan", job, "--html", page, home=home).returncode == 0
    assert "x" * 100 not in page.read_text()


@built
def test_a_plan_without_a_choice_has_a_page_too(job: Path, page: Path, home: Path) -> None:
    done = mlbroker("plan", job, "--deadline", "3m", "--html", page, home=home)
    assert done.returncode == 4
    assert "Nothing chosen: no machine meets" in page.read_text()
    assert "a deadline of" in page.read_text()


@built
def test_a_job_never_measured_has_a_page_by_the_hour(job: Path, page: Path, home: Path) -> None:
    job.write_text("name: new\nresources: {cpus: 2+}\nrun: python train.py\n")
    assert mlbroker("plan", job, "--html", page, home=home).returncode == 0
    text = page.read_text()
    assert "What an hour costs, against speed" in text
    assert "the job was never measured" in text
    assert "NaN" not in text.partition("<script>")[0]


@built
def test_a_place_that_cannot_be_written_is_bad_input(job: Path, home: Path) -> None:
    done = mlbroker("plan", job, "--html", job.parent / "no" / "plan.html", home=home)
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
