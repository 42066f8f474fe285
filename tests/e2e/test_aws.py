"""`mlbroker run --cloud aws` at the terminal: the loopback AWS with machines that really run."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.aws.server import NOBODY, StrictAws, environment, serving
from tests.support.mlbroker import PATIENCE_S, Cli, wait_for

MEASURED = (
    "job,config,time_s,price_per_hour_usd,cloud,region,instance_type,steps\n"
    "{name},a,10,0.1,aws,us-east-1,m5.large,20\n"
)
# The first machine's job waits to be taken away; the one that finds its checkpoint ends.
RESUMES = (
    "test -e ck/i && { echo done > $MLBROKER_OUTPUT_DIR/result; exit; }; "
    "mkdir -p ck; echo 1 > ck/i; sleep 3000"
)
COUNTS = (
    'for i in $(seq 20); do echo "::mlbroker step=$i/20"; sleep 0.2; done; '
    "echo done > $MLBROKER_OUTPUT_DIR/result"
)


@pytest.fixture
def live() -> Iterator[StrictAws]:
    with serving(execute=True) as world:
        world.ec2.machines.boot_s = 0.05
        world.ec2.machines.shutdown_s = 0.05
        yield world


def arguments(cli: Cli, name: str, market: str, script: str = COUNTS) -> list[str]:
    table = cli.folder / "measured.csv"
    table.write_text(MEASURED.format(name=name))
    job = cli.job(
        script,
        name,
        resources={"cpus": "2+", "disk_size": 20},
        broker={"work": {"steps": 20}, "checkpoint": {"path": "ck", "every": "1s"}},
    )
    return [
        "run", str(job), "--cloud", "aws", "--region", "us-east-1", "--instance-type", "m5.large",
        "--market", market, "--measure", str(table), "--budget", "1", "--yes",
    ]  # fmt: skip


def result(cli: Cli, run_id: str) -> str:
    return (cli.home / "runs" / run_id / "outputs" / "result").read_text()


def test_a_notice_on_the_way_to_the_result(live: StrictAws, tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    client = cli.start(
        *arguments(cli, "counts", "spot", RESUMES), "--json", **environment(live.url)
    )
    wait_for(lambda: any(live.get_object(vm, "0/checkpoint.tar") for vm in live.vms()))
    live.ec2.preempt(live.vms()[0])
    output, errors = client.communicate(timeout=PATIENCE_S)
    assert client.returncode == 0, errors
    row = json.loads(output)
    assert row["outcome"] == "succeeded"
    assert row["attempts"] == 2
    assert result(cli, row["run_id"]) == "done\n"
    assert [vm for vm in live.vms() if vm.ends_at is None] == []
    assert live.kills.schedules() == []
    assert float(row["spent_usd"]) <= 1


def test_a_killed_client_leaves_nothing_that_reconcile_does_not_settle(
    live: StrictAws, tmp_path: Path
) -> None:
    cli = Cli(tmp_path)
    client = cli.start(*arguments(cli, "counts", "on_demand"), **environment(live.url))
    wait_for(lambda: any(live.get_object(vm, "0/report.json") for vm in live.vms()))
    client.send_signal(signal.SIGKILL)
    client.communicate()
    wait_for(lambda: all(vm.ends_at for vm in live.vms()))
    answer = cli("reconcile", **environment(live.url))
    assert answer.returncode == 0, answer.stderr
    (row,) = cli.ledger()
    assert (row["state"], row["outcome"], row["reserved_usd"]) == ("settled", "succeeded", "0")
    assert result(cli, row["run_id"]) == "done\n"
    assert live.kills.schedules() == []


def test_without_an_account_nothing_is_reserved(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    answer = cli(*arguments(cli, "counts", "on_demand"), **NOBODY)
    assert answer.returncode == 1
    assert "no credentials found" in answer.stderr
    assert cli.ledger() == []
