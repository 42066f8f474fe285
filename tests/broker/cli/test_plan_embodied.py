"""`mlbroker plan --embodied` as a process: document, table and page, and off by default."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.support.browser import needs_chart_library
from tests.support.cli import mlbroker

JOB = """\
name: bert-ft
resources: {cpus: 2+, memory: 8+}
run: python train.py
broker:
  deadline: 24h
  work: {steps: 12000, hours: 2.8, on: m5.xlarge}
"""
SCHEMA = json.loads(files("mlbroker.broker").joinpath("schemas/plan.json").read_text())
NEW = {"embodied_kgco2e", "embodied_method"}


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(JOB)
    return path


def text(*args: str | Path, home: Path) -> str:
    done = mlbroker("plan", *args, home=home)
    assert done.returncode == 0, done.stderr
    return done.stdout


def document(*args: str | Path, home: Path) -> dict[str, Any]:
    plan: dict[str, Any] = json.loads(text(*args, "--json", home=home))
    jsonschema.validate(plan, SCHEMA)
    return plan


def without(plan: Any) -> Any:
    if isinstance(plan, list):
        return [without(each) for each in plan]
    if isinstance(plan, dict):
        return {name: without(value) for name, value in plan.items() if name not in NEW}
    return plan


def test_it_is_added_to_each_quote_and_chooses_nothing(job: Path, home: Path) -> None:
    only = (job, "--instance-type", "m5.xlarge", "--region", "us-east-1", "--market", "on_demand")
    plan = document(*only, "--embodied", home=home)
    assert plan["embodied_method"] == "mlbroker-embodied/1"
    quote = plan["choice"]
    hours = quote["energy_kwh"] * 1000 / quote["power_w"]
    assert quote["embodied_kgco2e"] == pytest.approx(1610.79 * 4 / 96 / 35_040 * hours, rel=1e-5)
    plan, plain = document(job, "--embodied", home=home), document(job, home=home)
    assert all(quote["embodied_kgco2e"] > 0 for quote in [*plan["quotes"], plan["baseline"]])
    assert "embodied" not in json.dumps(plain)
    plan["generated_at"] = plain["generated_at"]
    assert without(plan) == plain


def test_the_table_has_a_column_more_only_when_asked(job: Path, home: Path) -> None:
    asked, plain = text(job, "--embodied", home=home), text(job, home=home)
    assert "mbodied" not in plain
    assert "making it" not in plain
    heads = [line for line in asked.splitlines() if "kgCO2e  embodied  basis" in line]
    assert len(heads) == 1
    assert "The run's share of making it is " in asked
    told = text(job, "--embodied", "--explain", "m5.xlarge", home=home)
    assert told.count("  The run's share of making it is ") >= 2


def test_a_job_never_measured_is_told_of_an_hour(tmp_path: Path, home: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("resources: {cpus: 2+, memory: 8+}\nrun: python train.py\n")
    assert "An hour's share of making it is " in text(job, "--embodied", home=home)
    assert document(job, "--embodied", home=home)["choice"]["embodied_kgco2e"] is None


@needs_chart_library
def test_the_page_has_it_when_asked(job: Path, home: Path, tmp_path: Path) -> None:
    page = tmp_path / "plan.html"
    text(job, "--html", page, "--instance-type", "m5.xlarge", home=home)
    assert "mbodied" not in page.read_text()
    text(job, "--html", page, "--instance-type", "m5.xlarge", "--embodied", home=home)
    assert "Embodied CO2e" in page.read_text()
    assert "from making the machines" in page.read_text()


def test_of_a_node_of_ones_own_it_is_unknown(job: Path, home: Path, tmp_path: Path) -> None:
    nodes = tmp_path / "nodes.yaml"
    nodes.write_text(
        "nodes:\n- name: office\n  hardware: {vcpus: 16, memory_gib: 64}\n"
        "  price_per_hour_usd: 0.001\n"
    )
    asked = (job, "--nodes", nodes, "--embodied", "--top", "1")
    choice = document(*asked, home=home)["choice"]
    assert (choice["instance_type"], choice["embodied_kgco2e"]) == ("office", None)
    shown = text(*asked, home=home)
    assert "What making a machine of type office emitted is unknown." in shown
