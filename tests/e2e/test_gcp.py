"""`mlbroker run --cloud gcp` at the terminal: the loopback cloud with machines that really run."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.gcp.server import StrictGcp, environment, serving
from tests.support.mlbroker import PATIENCE_S, Cli, wait_for

TYPE = "e2-standard-2"
MEASURED = (
    "job,config,time_s,price_per_hour_usd,cloud,region,instance_type,steps\n"
    f"counts,a,10,0.1,gcp,us-central1,{TYPE},20\n"
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
def live() -> Iterator[StrictGcp]:
    with serving(execute=True) as world:
        world.gce.machines.boot_s = 0.05
        world.gce.machines.shutdown_s = 0.05
        yield world


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def google(live: StrictGcp, cli: Cli) -> dict[str, str]:
    return environment(live.url, cli.folder / "google")


def arguments(cli: Cli, market: str, script: str = COUNTS) -> list[str]:
    table = cli.folder / "measured.csv"
    table.write_text(MEASURED)
    job = cli.job(
        script,
        "counts",
        resources={"cpus": "2+", "disk_size": 20},
        broker={"work": {"steps": 20}, "checkpoint": {"path": "ck", "every": "1s"}},
    )
    return [
        "run", str(job), "--cloud", "gcp", "--region", "us-central1", "--instance-type", TYPE,
        "--market", market, "--measure", str(table), "--budget", "1", "--yes",
    ]  # fmt: skip


def result(cli: Cli, run_id: str) -> str:
    return (cli.home / "runs" / run_id / "outputs" / "result").read_text()


def test_a_preemption_on_the_way_to_the_result(live: StrictGcp, cli: Cli) -> None:
    client = cli.start(*arguments(cli, "spot", RESUMES), "--json", **google(live, cli))
    wait_for(lambda: any(live.get_object(vm, "0/checkpoint.tar") for vm in live.vms()))
    live.gce.preempt(live.vms()[0])
    output, errors = client.communicate(timeout=PATIENCE_S)
    assert client.returncode == 0, errors
    row = json.loads(output)
    assert row["outcome"] == "succeeded"
    assert [vm.zone for vm in live.vms()] == ["us-central1-a", "us-central1-b"]
    assert result(cli, row["run_id"]) == "done\n"
    assert [vm for vm in live.vms() if vm.gone_at is None] == []
    assert float(row["spent_usd"]) <= 1
    assert live.denied == []


def test_a_killed_client_leaves_nothing_that_reconcile_does_not_settle(
    live: StrictGcp, cli: Cli
) -> None:
    client = cli.start(*arguments(cli, "on_demand"), **google(live, cli))
    wait_for(lambda: any(live.get_object(vm, "0/report.json") for vm in live.vms()))
    client.send_signal(signal.SIGKILL)
    client.communicate()
    wait_for(lambda: all(vm.gone_at for vm in live.vms()))
    answer = cli("reconcile", **google(live, cli))
    assert answer.returncode == 0, answer.stderr
    (row,) = cli.ledger()
    assert (row["state"], row["outcome"], row["reserved_usd"]) == ("settled", "succeeded", "0")
    assert result(cli, row["run_id"]) == "done\n"


def test_without_credentials_nothing_is_reserved(cli: Cli) -> None:
    nobody = {
        "CLOUDSDK_CONFIG": str(cli.folder),
        "GOOGLE_APPLICATION_CREDENTIALS": "",
        "NO_GCE_CHECK": "true",
    }
    answer = cli(*arguments(cli, "on_demand"), **nobody)
    assert answer.returncode == 1
    assert "no credentials found" in answer.stderr
    assert cli.ledger() == []
