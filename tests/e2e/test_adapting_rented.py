"""A run on a rented machine goes on with another batch, on a loopback cloud that really runs it."""

import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.support.batch_rows import keep_steps
from tests.support.indexed import indexed
from tests.support.mlbroker import PATIENCE_S, Cli
from tests.support.strict import StrictCloud
from tests.support.vendors import Vendor

# 40,000 steps of no less than 0.05 s; told the larger batch it ends soon, as its work is done.
TRAINING = """
import os, pathlib, time
batch, folder = int(os.environ["BATCH"]), pathlib.Path(os.environ["MLBROKER_CHECKPOINT_DIR"])
folder.mkdir(exist_ok=True)
saved, out = folder / "samples", pathlib.Path(os.environ["MLBROKER_OUTPUT_DIR"])
samples = int(saved.read_text()) if saved.exists() else 0
began, steps = samples, 0
while batch == 64 or steps < 4:
    time.sleep(0.05)
    steps, samples = steps + 1, samples + batch
    print(f"::mlbroker step={samples // batch}", flush=True)
    print(f"::mlbroker noise=1e9 batch={batch}", flush=True)
    (folder / "part").write_text(str(samples))
    (folder / "part").replace(saved)
(out / "result").write_text(f"from {began} at {batch} and {os.environ['LR']}")
"""


# It stays until it has gone on from a checkpoint, which it is told to do on another machine alone.
LATE = """
import os, pathlib, time
folder = pathlib.Path(os.environ["MLBROKER_CHECKPOINT_DIR"])
folder.mkdir(exist_ok=True)
saved, out = folder / "steps", pathlib.Path(os.environ["MLBROKER_OUTPUT_DIR"])
began = steps = int(saved.read_text()) if saved.exists() else 0
while not began or steps < began + 4:
    time.sleep(0.1)
    steps += 1
    print(f"::mlbroker step={steps}", flush=True)
    print("::mlbroker noise=1e-9 batch=64", flush=True)
    (folder / "part").write_text(str(steps))
    (folder / "part").replace(saved)
(out / "result").write_text(f"from {began} with batch {os.environ['BATCH']}")
"""


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    cli = Cli(tmp_path)
    indexed(cli.home)
    return cli


class Adapted(NamedTuple):
    """A run on two machines, one after the other, under a cap of 1 USD: its row, what was said, the
    types of the machines, and what its last attempt wrote of itself: where it began, and the rest.
    """

    row: dict[str, Any]
    said: str
    types: list[str]
    began: int
    rest: str


def adapted(live: StrictCloud, cli: Cli, vendor: Vendor, path: Path, *options: str) -> Adapted:
    place = vendor.runs.candidates[0]
    account = vendor.environment(live.url, cli.folder / "account")
    client = cli.start(
        "run", str(path), "--cloud", place.cloud, "--region", place.region, "--market",
        "on_demand", "--budget", "1", "--yes", "--json", *options, **account,
    )  # fmt: skip
    output, errors = client.communicate(timeout=PATIENCE_S)
    assert client.returncode == 0, errors
    row = json.loads(output)
    assert (row["outcome"], row["attempts"]) == ("succeeded", 2)
    # Both machines under the one cap, the first gone before the second came.
    assert Decimal(row["spent_usd"]) <= 1
    first, second = live.vms()
    assert first.gone_at is not None
    assert second.gone_at is not None
    assert vendor.runs(cli.home, live, None).leftovers(row["run_id"]) == []
    assert live.denied == []
    result = (cli.home / "runs" / row["run_id"] / "outputs" / "result").read_text()
    began, rest = result.removeprefix("from ").split(" ", 1)
    return Adapted(row, errors, [first.instance_type, second.instance_type], int(began), rest)


@pytest.mark.parametrize("vendor", ["aws"], indirect=True)
def test_the_next_machine_has_the_other_batch_and_the_checkpoint(
    live: StrictCloud, cli: Cli, vendor: Vendor
) -> None:
    place = vendor.runs.candidates[0]
    (cli.folder / "train.py").write_text(TRAINING)
    path = cli.job(
        f"{sys.executable} train.py",
        workdir=".",
        resources={"cpus": "2+", "disk_size": 20},
        broker={
            "work": {"steps": 40_000},
            "checkpoint": {"path": "ck", "every": "1s"},
            "batch": {
                "size": 64,
                "max": 4096,
                "env": {"total": "BATCH"},
                "lr": {"env": "LR", "base": 0.1, "rule": "linear"},
            },
            "adapt": "batch",
        },
    )
    keep_steps(
        cli.home, path, 0.05, (64, 4096), config=place.instance_type, cloud=place.cloud,
        instance_type=place.instance_type,
    )  # fmt: skip
    found = adapted(live, cli, vendor, path, "--instance-type", place.instance_type)
    assert "batch 64 → 4096: saves" in found.said
    assert found.row["batch_size"] == 4096
    assert found.began > 0
    assert found.rest == "at 4096 and 6.4"


@pytest.mark.parametrize("vendor", ["aws"], indirect=True)
def test_a_run_that_would_be_late_goes_on_on_a_larger_machine(
    live: StrictCloud, cli: Cli, vendor: Vendor
) -> None:
    """Its steps take five times as long as they were measured on the small one."""
    place = vendor.runs.candidates[0]
    small, large = place.instance_type, "m5.xlarge"
    (cli.folder / "train.py").write_text(LATE)
    kinds = [{"instance_type": kind} for kind in (small, large)]
    path = cli.job(
        f"{sys.executable} train.py",
        workdir=".",
        resources={"disk_size": 20, "any_of": kinds},
        broker={
            "deadline": "1h",
            "work": {"steps": 50_000},
            "checkpoint": {"path": "ck", "every": "1s"},
            "batch": {"size": 64, "max": 128, "env": {"total": "BATCH"}},
            "adapt": "move",
        },
    )
    for kind, step_s in ((small, 0.02), (large, 0.01)):
        keep_steps(
            cli.home, path, step_s, (64, 128), config=kind, cloud=place.cloud, instance_type=kind
        )
    found = adapted(live, cli, vendor, path)
    assert f"{small} → {large}: staying would miss the deadline" in found.said
    assert found.types == [small, large]
    assert found.began > 0
    assert found.rest == "with batch 64"
