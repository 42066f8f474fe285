"""`mlbroker run --cloud …` at the terminal: loopback clouds with machines that really run."""

import json
import signal
from pathlib import Path

import pytest
from tests.support.aws.server import NOBODY as NO_ACCOUNT
from tests.support.first_project import first_project
from tests.support.indexed import indexed
from tests.support.mlbroker import PATIENCE_S, Cli, wait_for
from tests.support.strict import StrictCloud
from tests.support.vendors import Vendor

MEASURED = (
    "job,config,time_s,price_per_hour_usd,cloud,region,instance_type,steps\n"
    "counts,a,10,0.1,{0.cloud},{0.region},{0.instance_type},20\n"
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
# The environment of somebody without an account, and what is said to them.
NOBODY = {
    "aws": (NO_ACCOUNT, "no credentials found"),
    "gcp": (
        {
            "CLOUDSDK_CONFIG": "/nowhere",
            "GOOGLE_APPLICATION_CREDENTIALS": "",
            "NO_GCE_CHECK": "true",
        },
        "no credentials found",
    ),
    "azure": ({"AZURE_SUBSCRIPTION_ID": ""}, "subscription"),
}


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    cli = Cli(tmp_path)
    indexed(cli.home)
    return cli


@pytest.fixture
def account(vendor: Vendor, live: StrictCloud, cli: Cli) -> dict[str, str]:
    return vendor.environment(live.url, cli.folder / "account")


def arguments(cli: Cli, vendor: Vendor, market: str, script: str = COUNTS) -> list[str]:
    place = vendor.runs.candidates[0]
    table = cli.folder / "measured.csv"
    table.write_text(MEASURED.format(place))
    job = cli.job(
        script,
        "counts",
        resources={"cpus": "2+", "disk_size": 20},
        broker={"work": {"steps": 20}, "checkpoint": {"path": "ck", "every": "1s"}},
    )
    return [
        "run", str(job), "--cloud", place.cloud, "--region", place.region, "--instance-type",
        place.instance_type, "--market", market, "--measure", str(table), "--budget", "1", "--yes",
    ]  # fmt: skip


def result(cli: Cli, run_id: str) -> str:
    return (cli.home / "runs" / run_id / "outputs" / "result").read_text()


def leftovers(vendor: Vendor, live: StrictCloud, cli: Cli, run_id: str) -> list[str]:
    return vendor.runs(cli.home, live, None).leftovers(run_id)


def test_a_preemption_on_the_way_to_the_result(
    live: StrictCloud, cli: Cli, vendor: Vendor, account: dict[str, str]
) -> None:
    client = cli.start(*arguments(cli, vendor, "spot", RESUMES), "--json", **account)
    wait_for(lambda: any(live.get_object(vm, "0/checkpoint.tar") for vm in live.vms()))
    live.control.preempt(live.vms()[0])
    output, errors = client.communicate(timeout=PATIENCE_S)
    assert client.returncode == 0, errors
    row = json.loads(output)
    assert (row["outcome"], row["attempts"]) == ("succeeded", 2)
    if vendor.name == "gcp":
        assert [vm.zone for vm in live.vms()] == ["us-central1-a", "us-central1-b"]
    assert result(cli, row["run_id"]) == "done\n"
    assert [vm for vm in live.vms() if vm.gone_at is None] == []
    assert leftovers(vendor, live, cli, row["run_id"]) == []
    assert float(row["spent_usd"]) <= 1
    assert live.denied == []


def test_spot_that_falls_back_is_followed_zone_by_zone(
    live: StrictCloud, cli: Cli, vendor: Vendor, account: dict[str, str]
) -> None:
    given = arguments(cli, vendor, "spot", RESUMES)
    at = given.index("--market")
    given[at : at + 2] = ["--deadline", "3h"]
    client = cli.start(*given, "--json", **account)
    wait_for(lambda: any(live.get_object(vm, "0/checkpoint.tar") for vm in live.vms()))
    live.control.preempt(live.vms()[0])
    output, errors = client.communicate(timeout=PATIENCE_S)
    assert client.returncode == 0, errors
    assert "On spot as long as the deadline lets it" in errors
    run_id = json.loads(output)["run_id"]
    assert result(cli, run_id) == "done\n"
    shown = cli("ledger", "--run", run_id, "--json")
    tries = json.loads(shown.stdout)["attempts"]
    assert [(a["attempt"], a["market"], a["why"]) for a in tries] == [
        (1, "spot", "preempted"), (2, "spot", "finished"),
    ]  # fmt: skip
    assert tries[0]["zone"] != tries[1]["zone"]
    assert "preempted" in cli("ledger", "--run", run_id).stdout
    assert leftovers(vendor, live, cli, run_id) == []


def test_a_killed_client_leaves_nothing_that_reconcile_does_not_settle(
    live: StrictCloud, cli: Cli, vendor: Vendor, account: dict[str, str]
) -> None:
    """Of the job that `mlbroker init` wrote, as it stands: its packages are installed there."""
    place = vendor.runs.candidates[0]
    project = first_project(cli.folder)
    assert cli("init", project).returncode == 0
    client = cli.start(
        "run", project / "job.yaml", "--cloud", place.cloud, "--region", place.region,
        "--market", "on_demand", "--budget", "1", "--yes", **account,
    )  # fmt: skip
    wait_for(lambda: any(live.get_object(vm, "0/report.json") for vm in live.vms()))
    client.send_signal(signal.SIGKILL)
    client.communicate()
    wait_for(lambda: all(vm.gone_at for vm in live.vms()))
    answer = cli("reconcile", **account)
    assert answer.returncode == 0, answer.stderr
    (row,) = cli.ledger()
    assert (row["state"], row["outcome"], row["reserved_usd"]) == ("settled", "succeeded", "0")
    assert (cli.home / "runs" / row["run_id"] / "outputs" / "model.bin").read_text() == "42"
    assert leftovers(vendor, live, cli, row["run_id"]) == []


def test_without_an_account_nothing_is_reserved(cli: Cli, vendor: Vendor) -> None:
    nobody, said = NOBODY[vendor.name]
    answer = cli(*arguments(cli, vendor, "on_demand"), **nobody)
    assert answer.returncode == 1
    assert said in answer.stderr
    assert cli.ledger() == []
