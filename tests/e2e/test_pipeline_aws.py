"""`mlbroker run` of a pipeline with a stage on a rented machine: what is handed on travels."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from tests.support.aws.server import StrictAws, environment, serving
from tests.support.dags import GO, dag, expected, ran
from tests.support.indexed import indexed
from tests.support.mlbroker import Cli, wait_for

from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.runs.folder import RunFolder

NEEDS = {"a": [], "b": ["a"], "c": ["b"]}
RENTED = {
    "resources": {"infra": "aws", "instance_type": "m5.large", "use_spot": False, "disk_size": 20},
    "broker": {"needs": ["a"], "work": {"hours": 0.01, "on": "m5.large"}, "outputs": ["out/*.txt"]},
}


@pytest.fixture
def live() -> Iterator[StrictAws]:
    with serving(execute=True) as world:
        world.ec2.machines.boot_s = 0.05
        world.ec2.machines.shutdown_s = 0.05
        yield world


def pipeline(cli: Cli) -> Path:
    """The middle stage is rented, and names what it hands on."""
    indexed(cli.home)
    run = (
        "mkdir out && echo begins >> $MARKS && while [ ! -e $GO ]; do sleep 0.1; done && "
        'printf "b(%s)" "$(cat "$MLBROKER_INPUTS"/a/out.txt)" > out/out.txt'
    )
    envs = {"MARKS": str(cli.folder / "marks"), "GO": str(cli.folder / "go")}
    return dag(cli.folder, NEEDS, b={**RENTED, "run": run, "envs": envs})


def test_a_rented_stage_is_given_what_was_made_here_and_hands_on_its_own(
    live: StrictAws, tmp_path: Path
) -> None:
    cli, account = Cli(tmp_path), environment(live.url)
    path = pipeline(cli)
    # Where `c` looks, the rented stage's file lies below out/.
    stage = cli.folder / "work" / "stage.py"
    stage.write_text(stage.read_text().replace(
        '(given / need / "out.txt").read_text()',
        'next((given / need).rglob("out.txt")).read_text()',
    ))  # fmt: skip
    client = cli.start("run", path, *GO, "--budget", "2", **account)
    marks = tmp_path / "marks"
    wait_for(lambda: marks.exists() or client.poll() is not None)
    assert client.poll() is None, client.communicate()
    client.kill()
    client.communicate()
    (tmp_path / "go").touch()
    done = cli("run", path, *GO, "--resume", "last", "--json", **account)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["outcome"] == "succeeded"
    last = RunFolder.of(cli.home, found["stages"][-1]["run_id"])
    assert (last.outputs / "out.txt").read_text() == expected("c", NEEDS)
    assert marks.read_text() == "begins\n"
    assert ran(cli.folder) == ["a begins", "a ends", "c begins", "c ends"]
    assert len(live.vms()) == 1
    assert all(vm.ends_at is not None for vm in live.vms())
    assert live.kills.schedules() == []
    runs = open_ledger(cli.home).runs()
    assert [run.attempt.cloud for run in runs] == ["local", "aws", "local"]
    assert sum((run.spent_usd for run in runs), Decimal(0)) <= 2


def test_stages_without_a_place_go_where_the_plan_says(live: StrictAws, tmp_path: Path) -> None:
    cli, account = Cli(tmp_path), environment(live.url)
    indexed(cli.home)
    own = {"resources": {"cpus": "2+", "disk_size": 20}}
    stated = {"work": {"hours": 0.01, "on": "m5.large"}}
    stages = {n: {**own, "broker": {**stated, "needs": NEEDS[n]}} for n in NEEDS}
    path = dag(cli.folder, NEEDS, 0.1, {"budget": "2 USD", "deadline": "3h"}, **stages)
    on = ("--cloud", "aws", "--market", "on_demand", "--yes", "--json")
    done = cli("run", path, *on, **account)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["outcome"] == "succeeded"
    last = RunFolder.of(cli.home, found["stages"][-1]["run_id"])
    assert (last.outputs / "out.txt").read_text() == expected("c", NEEDS)
    assert len(live.vms()) == 3
    assert all(vm.ends_at is not None for vm in live.vms())
