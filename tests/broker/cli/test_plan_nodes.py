"""`nodes: 1..4`: plan, run, check and export have the number of machines that does best."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.support.indexed import indexed
from tests.support.mlbroker import Cli

SCHEMA = json.loads(files("mlbroker.broker").joinpath("schemas/plan.json").read_text("utf-8"))
TABLE = """\
job,config,time_s,price_per_hour_usd,cloud,instance_type,nodes,steps
job,a,1.0,0.34,aws,c6i.2xlarge,1,20000
job,b,0.56,0.68,aws,c6i.2xlarge,2,20000
"""
RESOURCES = {"infra": "aws/us-east-1", "instance_type": "c6i.2xlarge", "use_spot": False}


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    cli = Cli(tmp_path_factory.mktemp("plans"))
    indexed(cli.home)
    (cli.folder / "t.csv").write_text(TABLE)
    done = cli("profile", "import", cli.folder / "t.csv")
    assert done.returncode == 0, done.stderr
    return cli


def job_of(cli: Cli, deadline: str, nodes: str = "1..2") -> Path:
    broker = {"work": {"steps": 20_000}, "budget": "20 USD", "deadline": deadline, "nodes": nodes}
    return cli.job("torchrun train.py", resources=RESOURCES, broker=broker)


def document(cli: Cli, *words: Any) -> dict[str, Any]:
    done = cli(*words, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("deadline", "nodes"), [("12h", 1), ("5h", 2)])
def test_a_deadline_takes_more_machines(cli: Cli, deadline: str, nodes: int) -> None:
    job = job_of(cli, deadline)
    plan = document(cli, "plan", job)
    Draft202012Validator(SCHEMA).validate(plan)
    assert plan["choice"]["nodes"] == plan["job"]["num_nodes"] == nodes
    told = {count["num_nodes"]: count["choice"] for count in plan["node_counts"]}
    assert list(told) == [1, 2]
    assert told[nodes] == plan["choice"]
    assert (told[1] is None) == (nodes == 2)
    assert document(cli, "run", job, "--dry-run")["nodes"] == nodes
    checked = document(cli, "check", job)
    assert checked["jobs"][0]["head"]["nodes"] == nodes
    exported = cli("export", job, "--to", "skypilot")
    assert exported.returncode == 0, exported.stderr
    assert ("num_nodes: 2" in exported.stdout) == (nodes == 2)


def test_the_numbers_are_compared(cli: Cli) -> None:
    told = cli("plan", job_of(cli, "12h", "1..4")).stdout
    assert "c6i.2xlarge" in told
    assert "1.7x faster, 1.2x dearer" in told or "1.8x faster, 1.1x dearer" in told
    assert told.count("chosen") == 1


def test_a_number_of_which_nothing_is_known_is_said_and_not_chosen(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    indexed(cli.home)
    (cli.folder / "one.csv").write_text("".join(TABLE.splitlines(keepends=True)[:2]))
    in_time = cli("plan", job_of(cli, "12h"), "--measure", "one.csv")
    assert "How long it takes on 2 nodes is not known" in in_time.stdout
    late = cli("plan", job_of(cli, "5h"), "--measure", "one.csv", "--json")
    assert late.returncode == 4, late.stderr
    counts = json.loads(late.stdout)["node_counts"]
    assert [(count["known"], count["choice"]) for count in counts] == [(True, None), (False, None)]


def test_without_a_number_to_choose_nothing_is_said_of_it(cli: Cli) -> None:
    assert "node_counts" not in document(cli, "plan", job_of(cli, "12h", "1..1"))
