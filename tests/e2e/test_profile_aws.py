"""`mlbroker profile` on a cloud: where it is set up, zone by zone, as a run is launched."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.aws.server import StrictAws, environment, serving
from tests.support.mlbroker import Cli

STEPS = 'for i in $(seq 400); do echo "::mlbroker step=$i/400"; sleep 0.02; done'
TYPE = ("--cloud", "aws", "--instance-type", "m5.large")
FULL = ("eu-west-1a", "eu-west-1b")


@pytest.fixture
def live() -> Iterator[StrictAws]:
    with serving(execute=True) as world:
        machines_that_run = world.guest
        world.renew(("eu-west-1",))  # which is not the cheapest region
        world.guest = machines_that_run
        world.ec2.machines.boot_s = 0.05
        world.ec2.machines.shutdown_s = 0.05
        for zone in FULL:
            for market in ("on_demand", "spot"):
                world.ec2.capacity["*", zone, market] = 0
        yield world


def job_of(cli: Cli, run: str) -> Path:
    work = cli.folder / "work"
    work.mkdir()
    return cli.job(
        run,
        "counts",
        workdir=str(work),
        resources={"cpus": "2+", "disk_size": 20},
        broker={"work": {"steps": 400}, "profile": {"max_cost": "1 USD", "max_time": "2m"}},
    )


def check(cli: Cli, world: StrictAws) -> None:
    for vm in world.vms():
        assert vm.region == "eu-west-1"
        assert vm.zone not in FULL
        assert vm.ends_at is not None
    for run in cli.ledger():
        assert (run["state"], run["reserved_usd"]) == ("settled", "0")
    assert world.kills.schedules() == []


def test_a_named_type_is_measured_where_it_can_be_had(live: StrictAws, tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    answer = cli(
        "profile", str(job_of(cli, STEPS)), *TYPE, "--market", "on_demand", "--max-steps", "30",
        "--yes", "--json", **environment(live.url),
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    (row,) = json.loads(answer.stdout)["measurements"]
    assert (row["instance_type"], row["region"], row["status"]) == ("m5.large", "eu-west-1", "ok")
    assert len(live.vms()) == 1
    check(cli, live)


def test_a_region_that_is_not_set_up_is_refused_before_anything_starts(
    live: StrictAws, tmp_path: Path
) -> None:
    cli = Cli(tmp_path)
    answer = cli(
        "profile", str(job_of(cli, STEPS)), *TYPE, "--region", "us-east-1", "--yes",
        **environment(live.url),
    )  # fmt: skip
    assert answer.returncode == 2
    assert "mlbroker is set up in eu-west-1, not there" in answer.stderr
    assert cli.ledger() == []
