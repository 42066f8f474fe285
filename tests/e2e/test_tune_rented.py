"""`mlbroker tune` on rented machines: waves of lanes, whose trials go on wherever there is room."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.support.indexed import indexed
from tests.support.mlbroker import Cli, wait_for
from tests.support.strict import StrictCloud
from tests.support.studies import TRAIN, AStudy
from tests.support.vendors import Vendor

from mlbroker.broker.evidence.store import MeasurementStore
from mlbroker.broker.ledger import open_ledger
from mlbroker.profiles.measurement import Status

TUNE = {
    "metric": "acc",
    "goal": "maximize",
    "space": {"X": ["0", "1.0"]},
    "resource": {"max": 4},
    "trials": 8,
    "parallel": 2,
}


@pytest.fixture
def account(vendor: Vendor, live: StrictCloud, tmp_path: Path) -> dict[str, str]:
    return vendor.environment(live.url, tmp_path / "account")


def place(vendor: Vendor) -> tuple[str, ...]:
    one = vendor.runs.candidates[0]
    return (
        "--cloud", one.cloud, "--region", one.region, "--instance-type", one.instance_type,
        "--market", "on_demand",
    )  # fmt: skip


def job_of(cli: Cli, run: str = "python3 train.py", **tune: object) -> Path:
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
        broker={"checkpoint": checkpoint, "work": {"steps": 4}, "tune": {**TUNE, **tune}},
    )


def shown(cli: Cli) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cli("tune", "show", "net", "--json").stdout)
    return found


def check(cli: Cli, vendor: Vendor, world: StrictCloud, budget: str) -> None:
    runs = cli.ledger()
    assert {(run["state"], run["reserved_usd"]) for run in runs} == {("settled", "0")}
    assert sum(Decimal(run["spent_usd"]) for run in runs) <= Decimal(budget)
    for run in runs:
        assert vendor.runs(cli.home, world, None).leftovers(run["run_id"]) == []
    assert [vm for vm in world.vms() if vm.works] == []


def test_two_lanes_on_a_cloud_go_on_with_each_others_trials(
    live: StrictCloud, vendor: Vendor, account: dict[str, str], tmp_path: Path
) -> None:
    cli = Cli(tmp_path)
    done = cli(
        "tune", job_of(cli), *place(vendor), "--searcher", "random", "--budget", "2", "--yes",
        **account,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = shown(cli)
    assert found["ended"] == "8 trials are done, and the best is a whole one", done.stderr
    assert found["best"]["reached"] == 4
    assert found["best"]["metric"] == pytest.approx(float(found["best"]["env"]["X"]) * 4 / 9)
    kinds = {run["instance_type"] for run in cli.ledger()}
    assert kinds == {vendor.runs.candidates[0].instance_type}
    assert len(live.vms()) == len(found["runs"]) >= 3
    for mine in AStudy(tmp_path, name="net").now().trials:
        steps = range(1, mine.trial.reached + 1)
        assert sorted(mine.metrics) == list(steps), "from its pause, on whichever machine"
    taught = MeasurementStore(cli.home).all()
    assert {(row.job, row.instance_type, row.status) for row in taught} == {
        ("net", vendor.runs.candidates[0].instance_type, Status.OK)
    }
    longest_s = max(mine.seconds for mine in AStudy(tmp_path, name="net").now().trials)
    assert all(0 < row.time_s < 20 * longest_s for row in taught), "of a whole trial"
    check(cli, vendor, live, "2")


@pytest.mark.parametrize("vendor", ["aws"], indirect=True)
def test_the_first_wave_of_a_job_never_measured_compares_machines(
    live: StrictCloud, vendor: Vendor, account: dict[str, str], tmp_path: Path
) -> None:
    cli = Cli(tmp_path)
    path = job_of(cli, parallel="auto", trials=12)
    where = place(vendor)
    where = (*where[:4], *where[-2:])
    done = cli("tune", path, *where, "--searcher", "random", "--budget", "2", "--yes", **account)
    assert done.returncode == 0, done.stderr
    assert "The first wave compares these, as nobody measured the job." in done.stderr
    assert "A wave of 9 trials in 3 lanes." in done.stderr
    attempts = [run.attempt for run in open_ledger(cli.home).runs()]
    kinds = [attempt.instance_type for attempt in attempts]
    assert len(set(kinds[:3])) == 3
    hourly = {attempt.instance_type: attempt.price_per_hour_usd for attempt in attempts}
    # They are one machine in truth, so that the cheapest an hour is the cheapest a step.
    assert len(kinds) > 3
    assert all(hourly[kind] <= min(hourly[each] for each in kinds[:3]) for kind in kinds[3:])
    taught = MeasurementStore(cli.home).all()
    assert {row.instance_type for row in taught} == set(kinds)
    check(cli, vendor, live, "2")


# What is replaced here is the client, whatever the cloud.
@pytest.mark.parametrize("vendor", ["aws"], indirect=True)
def test_a_client_that_died_between_waves_is_replaced(
    live: StrictCloud, vendor: Vendor, account: dict[str, str], tmp_path: Path
) -> None:
    cli = Cli(tmp_path)
    path = job_of(cli, "while [ ! -e /tmp/go ]; do sleep 0.1; done; python3 train.py")
    go = tmp_path / "go"
    path.write_text(path.read_text().replace("/tmp/go", str(go)))
    client = cli.start(
        "tune", path, *place(vendor), "--searcher", "random", "--budget", "2", "--yes", **account
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
    check(cli, vendor, live, "2")
