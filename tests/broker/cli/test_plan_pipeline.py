"""`mlbroker plan` of a pipeline as a process: its document, its words, its exit codes."""

import json
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

import jsonschema
from tests.support.cli import mlbroker

SCHEMAS = {
    name: json.loads(files("mlbroker.broker").joinpath(f"schemas/{name}.json").read_text())
    for name in ("plan", "pipeline-plan")
}
EXAMPLE = Path(__file__).parents[3] / "examples" / "pipeline"
CHAIN = """\
name: whole
broker: {deadline: 9h}
---
name: one
resources: {cpus: 4+}
run: x
broker: {work: {hours: 1, on: m5.xlarge}, data: {output_gb: 5}}
---
name: two
resources: {cpus: 4+}
run: y
broker: {work: {hours: 2, on: m5.xlarge}}
"""


def test_the_example_plans_from_its_measurements(home: Path) -> None:
    done = mlbroker(
        "plan", EXAMPLE / "pipeline.yaml", "--measure", EXAMPLE / "measured.csv", "--json",
        "--explain", home=home,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    jsonschema.validate(plan, SCHEMAS["pipeline-plan"])
    assert [stage["job"] for stage in plan["stages"]] == [
        "prepare",
        "train",
        "evaluate",
        "describe",
    ]
    quote = {"$ref": "#/$defs/quote", "$defs": SCHEMAS["plan"]["$defs"]}
    for stage in plan["stages"]:
        jsonschema.validate(stage["choice"], quote)
    costs = sum(Decimal(stage["cost_usd"]) for stage in plan["stages"])
    assert Decimal(plan["total"]["cost_usd"]["expected"]) == costs
    assert plan["total"]["deadline_probability"] >= 0.9


def test_what_does_not_do_is_told(tmp_path: Path, home: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(CHAIN)
    done = mlbroker("plan", path, "--deadline", "10m", home=home)
    assert done.returncode == 4
    assert "longest path of the fastest choice is one → two" in done.stderr
    assert "would do" in done.stderr
    path.write_text(CHAIN.replace("cpus: 4+}\nrun: y", "cpus: 9000+}\nrun: y"))
    done = mlbroker("plan", path, home=home)
    assert done.returncode == 4
    assert "p.yaml:9: two: no machine" in done.stderr
    path.write_text(CHAIN.replace("work: {hours: 2, on: m5.xlarge}", "runs_per_month: 4"))
    done = mlbroker("plan", path, home=home)
    assert done.returncode == 2
    path.write_text(CHAIN.replace("broker: {work: {hours: 2, on: m5.xlarge}}", ""))
    done = mlbroker("plan", path, home=home)
    assert done.returncode == 2
    assert "--stage two" in done.stderr


def test_a_narrow_terminal_cuts_no_name_and_no_amount(tmp_path: Path, home: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(CHAIN.replace("name: one", "name: a-stage-with-quite-a-long-name"))
    plan = json.loads(mlbroker("plan", path, "--json", home=home).stdout)
    done = mlbroker("plan", path, home=home, env={"COLUMNS": "80"})
    assert done.returncode == 0, done.stderr
    assert "…" not in done.stdout
    rows = done.stdout.splitlines()
    for stage in plan["stages"]:
        row = next(line for line in rows if line.startswith(stage["job"]))
        assert stage["choice"]["instance_type"] in row
        assert stage["choice"]["region"] in row


def test_an_unknown_stage_is_told_with_the_nearest(tmp_path: Path, home: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(CHAIN)
    done = mlbroker("profile", path, "--stage", "twoo", "--steps", "1", home=home)
    assert done.returncode == 2
    assert "no stage 'twoo'" in done.stderr
    assert "did you mean two?" in done.stderr
