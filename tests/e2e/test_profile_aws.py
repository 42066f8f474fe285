"""`mlbroker profile` on a cloud: where it is set up, zone by zone, as a run is launched."""

import json
import re
import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from tests.broker.measure.test_capacity import answers, free_port, service_file
from tests.support import known_servers
from tests.support.aws.server import StrictAws, environment, serving
from tests.support.indexed import indexed
from tests.support.mlbroker import Cli, read_until, wait_for

STEPS = 'for i in $(seq 400); do echo "::mlbroker step=$i/400"; sleep 0.02; done'
# However late the end of a measurement is heard of, the job is not done by then.
ENDLESS = 'i=0; while sleep 0.02; do i=$((i+1)); echo "::mlbroker step=$i/40000000"; done'
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


def job_of(cli: Cli, run: str, steps: int = 400, **broker: object) -> Path:
    indexed(cli.home)
    work = cli.folder / "work"
    work.mkdir()
    limits = {"max_cost": "1 USD", "max_time": "2m"}
    return cli.job(
        run,
        "counts",
        workdir=str(work),
        resources={"cpus": "2+", "disk_size": 20},
        broker={"work": {"steps": steps}, "profile": limits, **broker},
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


def types(*names: str) -> list[str]:
    return [word for name in names for word in ("--instance-type", name)]


def test_types_are_measured_one_after_the_other_while_that_is_worth_it(
    live: StrictAws, tmp_path: Path
) -> None:
    cli = Cli(tmp_path)
    # At the same price, and of so long a job, both are worth knowing, whatever the first turns
    # out to be.
    job = job_of(cli, ENDLESS, steps=40_000_000)
    answer = cli(
        "profile", job, "--auto", "--cloud", "aws", *types("m5.large", "m6i.large"),
        "--market", "on_demand", "--max-steps", "30", "--yes", "--json", **environment(live.url),
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    rows = json.loads(answer.stdout)["measurements"]
    assert {row["instance_type"] for row in rows} == {"m5.large", "m6i.large"}, answer.stderr
    assert [row["status"] for row in rows] == ["ok", "ok"]
    assert [vm.instance_type for vm in live.vms()] == [row["instance_type"] for row in rows]
    check(cli, live)
    # What was said beforehand and afterwards fits what was paid.
    said = [float(usd) for usd in re.findall(r"measuring costs about (\S+) USD", answer.stderr)]
    paid = [Decimal(run["spent_usd"]) for run in cli.ledger()]
    assert len(said) == len(paid) == 2
    assert 0 < sum(paid) <= sum(said)
    assert f"2 measured for {sum(paid):.4f} USD." in answer.stderr
    # Which of the two it is depends on how busy this machine was.
    assert re.search(r"Take m\w+\.large on aws, eu-west-1", answer.stderr)
    plan = cli("plan", job, *types("m5.large", "m6i.large"), "--region", "eu-west-1",
               "--market", "on_demand", "--json")  # fmt: skip
    assert json.loads(plan.stdout)["choice"]["basis"] == "measured"


def test_a_run_with_little_time_first_measures_several_types_at_once(
    live: StrictAws, tmp_path: Path
) -> None:
    cli = Cli(tmp_path)
    short = 'for i in $(seq 60); do echo "::mlbroker step=$i/60"; sleep 0.05; done'
    job = job_of(cli, short, steps=60, deadline="30m")
    names = ("m5.large", "c5.large", "m6i.large")
    answer = cli(
        "run", job, "--auto-profile", "--cloud", "aws", *types(*names), "--market", "on_demand",
        "--budget", "5", "--yes", "--json", **environment(live.url),
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    *measured, last = cli.ledger()
    assert len(measured) >= 2
    assert {run["job"] for run in measured} == {"counts-profile"}
    assert (last["job"], last["outcome"]) == ("counts", "succeeded")
    assert last["instance_type"] in {run["instance_type"] for run in measured}
    assert len(live.vms()) == len(measured) + 1
    check(cli, live)


def served(cli: Cli, max_time: str) -> tuple[Path, int]:
    """A service of known capacity, and its port."""
    indexed(cli.home)
    work = cli.folder / "work"
    work.mkdir()
    shutil.copy(known_servers.__file__, work / "server.py")
    port = free_port()
    return service_file(work, "server.py fixed", port, max_time=max_time), port


def test_a_service_is_loaded_on_a_launched_machine_and_its_plan_knows_it(
    live: StrictAws, tmp_path: Path
) -> None:
    cli = Cli(tmp_path)
    job, port = served(cli, "12s")

    answer = cli(
        "profile", job, *TYPE, "--market", "on_demand", "--max-cost", "0.2", "--yes", "--json",
        **environment(live.url),
    )  # fmt: skip

    assert answer.returncode == 0, answer.stderr
    (row,) = json.loads(answer.stdout)["measurements"]
    assert (row["instance_type"], row["region"]) == ("m5.large", "eu-west-1")
    low_rps = float(row["extra"]["capacity_low_rps"])
    # A busy machine serves less than the server could, and 12 s are few: never more.
    assert 0 < low_rps < 60
    assert len(live.vms()) == 1
    check(cli, live)
    assert 0 < Decimal(cli.ledger()[0]["spent_usd"]) <= Decimal("0.2")
    assert not answers(port)
    plan = cli("plan", job, "--cloud", "aws", "--json", **environment(live.url))
    told = json.loads(plan.stdout)["replicas"]
    assert told["capacity"]["measured_on"] == "m5.large"
    assert told["capacity"]["low_rps"] == pytest.approx(low_rps)
    assert {each["instance_type"] for each in told["fleets"]["singles"]} == {"m5.large"}


def test_who_measures_a_service_may_die(live: StrictAws, tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    job, port = served(cli, "2m")
    client = cli.start(
        "profile", job, *TYPE, "--market", "on_demand", "--max-cost", "0.2", "--yes",
        **environment(live.url),
    )  # fmt: skip
    read_until(client.stderr, "in time")

    client.kill()
    client.communicate()

    # Its cap is the machine's own: whoever comes next only books it.
    live.clock.advance(3 * 3600)
    wait_for(lambda: not answers(port))
    settled = cli("reconcile", **environment(live.url))
    assert settled.returncode == 0, settled.stderr
    assert 0 < Decimal(cli.ledger()[0]["spent_usd"]) <= Decimal("0.2")
    check(cli, live)
