"""`mlbroker tune` on rented machines: waves of lanes, whose trials go on wherever there is room."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.support.aws.server import StrictAws, environment, serving
from tests.support.indexed import indexed
from tests.support.mlbroker import Cli, wait_for
from tests.support.studies import TRAIN, AStudy

TUNE = {
    "metric": "acc",
    "goal": "maximize",
    "space": {"X": ["0", "1.0"]},
    "resource": {"max": 4},
    "trials": 8,
    "parallel": 2,
}
ON = ("--cloud", "aws", "--instance-type", "m5.large", "--market", "on_demand")


@pytest.fixture
def live() -> Iterator[StrictAws]:
    with serving(execute=True) as world:
        world.ec2.machines.boot_s = 0.05
        world.ec2.machines.shutdown_s = 0.05
        yield world


def job_of(cli: Cli, run: str = "python3 train.py") -> Path:
    indexed(cli.home)
    work = cli.folder / "work"
    work.mkdir()
    (work / "train.py").write_text(TRAIN)
    checkpoint = {"path": "ckpt/", "every": "5m"}
    return cli.job(
        run,
        "net",
        workdir=str(work),
        resources={"cpus": "2+", "disk_size": 20},
        broker={"checkpoint": checkpoint, "work": {"steps": 4}, "tune": TUNE},
    )


def shown(cli: Cli) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cli("tune", "show", "net", "--json").stdout)
    return found


def check(cli: Cli, world: StrictAws, budget: str) -> None:
    assert all(vm.ends_at is not None for vm in world.vms())
    runs = cli.ledger()
    assert {(run["state"], run["reserved_usd"]) for run in runs} == {("settled", "0")}
    assert sum(Decimal(run["spent_usd"]) for run in runs) <= Decimal(budget)
    assert world.kills.schedules() == []


def test_two_lanes_on_a_cloud_go_on_with_each_others_trials(
    live: StrictAws, tmp_path: Path
) -> None:
    cli = Cli(tmp_path)
    done = cli(
        "tune", job_of(cli), *ON, "--searcher", "random", "--budget", "2", "--yes",
        **environment(live.url),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = shown(cli)
    assert found["ended"] == "8 trials are done, and the best is a whole one", done.stderr
    assert found["best"]["reached"] == 4
    assert found["best"]["metric"] == pytest.approx(float(found["best"]["env"]["X"]) * 4 / 9)
    assert {run["instance_type"] for run in cli.ledger()} == {"m5.large"}
    assert len(live.vms()) == len(found["runs"]) >= 3
    for mine in AStudy(tmp_path, name="net").now().trials:
        steps = range(1, mine.trial.reached + 1)
        assert sorted(mine.metrics) == list(steps), "from its pause, on whichever machine"
    check(cli, live, "2")


def test_a_client_that_died_between_waves_is_replaced(live: StrictAws, tmp_path: Path) -> None:
    cli, account = Cli(tmp_path), environment(live.url)
    path = job_of(cli, "while [ ! -e /tmp/go ]; do sleep 0.1; done; python3 train.py")
    go = tmp_path / "go"
    path.write_text(path.read_text().replace("/tmp/go", str(go)))
    client = cli.start(
        "tune", path, *ON, "--searcher", "random", "--budget", "2", "--yes", **account
    )
    study = AStudy(tmp_path, name="net")
    wait_for(lambda: study.record.exists and len(study.now().runs) == 2)
    second = cli("tune", "resume", "net", "--yes", **account)
    assert second.returncode == 2
    assert "study net is driven by process" in second.stderr
    client.kill()
    client.communicate()
    go.touch()
    done = cli("tune", "resume", "net", "--yes", **account)
    assert done.returncode == 0, done.stderr
    found = shown(cli)
    assert found["ended"] == "8 trials are done, and the best is a whole one", done.stderr
    assert found["trials"] == 8
    check(cli, live, "2")
