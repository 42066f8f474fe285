"""Runs that go on with another batch at a checkpoint, with real processes on this machine."""

import json
import os
import signal
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.support.batch_rows import keep_steps
from tests.support.mlbroker import Cli, wait_for

from mlbroker.broker.evidence.hardware import this_machine
from mlbroker.broker.ledger import open_ledger

# 200,000 steps of no less than 0.05 s are late for an hour; with 64 times the batch they are not.
# It ends soon after it was told another batch. What it had done, its checkpoint says.
TRAINING = """
import os, pathlib, signal, sys, time
batch, folder = int(os.environ["BATCH"]), pathlib.Path(os.environ["MLBROKER_CHECKPOINT_DIR"])
folder.mkdir(exist_ok=True)
saved = folder / "samples"
samples = int(saved.read_text()) if saved.exists() else 0
print("began at", samples, "batch", batch, "rate", os.environ["LR"], flush=True)
gate = pathlib.Path("gate")
if gate.exists():
    def last_words(*_):
        pathlib.Path("asked").touch()
        while gate.exists():
            time.sleep(0.01)
        sys.exit(0)
    signal.signal(signal.SIGTERM, last_words)
steps = 0
while batch == 64 or steps < 4:
    time.sleep(0.05)
    steps, samples = steps + 1, samples + batch
    print(f"::mlbroker step={samples // batch}", flush=True)
    print(f"::mlbroker noise={os.environ['NOISE']} batch={batch}", flush=True)
    (folder / "part").write_text(str(samples))
    (folder / "part").replace(saved)
    if steps == 60 and os.environ.get("ONCE"):
        break
"""


def job_of(cli: Cli, noise: str, **broker: Any) -> Path:
    """A training that was measured at two batches: its steps take as long at each."""
    (cli.folder / "train.py").write_text(TRAINING)
    path = cli.job(
        f"{sys.executable} train.py",
        envs={"NOISE": noise},
        broker={
            "deadline": "1h",
            "work": {"steps": 200_000},
            "checkpoint": {"path": "ckpt/", "every": "1s"},
            "batch": {
                "size": 64,
                "max": 4096,
                "env": {"total": "BATCH"},
                "lr": {"env": "LR", "base": 0.1, "rule": "linear"},
            },
            "adapt": "batch",
        }
        | broker,
    )
    keep_steps(cli.home, path, 0.05, (64, 4096), config=this_machine())
    return path


def attempts(cli: Cli, run_id: str) -> list[dict[str, Any]]:
    shown = cli("ledger", "--run", run_id, "--json")
    assert shown.returncode == 0, shown.stderr
    found: list[dict[str, Any]] = json.loads(shown.stdout)["attempts"]
    return found


def test_a_run_takes_another_batch_at_a_checkpoint(cli: Cli) -> None:
    answer = cli.run_local(job_of(cli, "1e9"), budget="10")
    assert answer.returncode == 0, answer.stderr
    said = [line for line in answer.stdout.splitlines() if line.startswith("began")]
    assert said[0] == "began at 0 batch 64 rate 0.1"
    assert len(said) == 2
    assert said[1].endswith("batch 4096 rate 6.4")
    assert int(said[1].split()[2]) > 0
    assert "batch 64 → 4096: staying would miss the deadline" in answer.stderr
    (row,) = cli.ledger()
    assert (row["outcome"], row["reserved_usd"], row["batch_size"]) == ("succeeded", "0", 4096)
    assert Decimal(row["spent_usd"]) <= 10
    first, second = attempts(cli, row["run_id"])
    assert (first["why"], first["batch_size"], second["batch_size"]) == ("adapt", None, 4096)
    assert second["lr_scale"] == 64
    assert (first["noise_samples"], second["noise_samples"]) == (1e9, 1e9)
    assert first["detail"].startswith("batch 64 → 4096")
    assert "went on with batch 64 → 4096" in cli("ledger", "--run", row["run_id"]).stderr
    (run,) = open_ledger(cli.home).runs()
    later = run.attempts[1]
    assert later.worst_usd <= Decimal(run.details["reserved_usd"]) - run.attempts[0].charged_usd


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


@pytest.mark.parametrize(
    ("noise", "options", "says"),
    [
        ("1e9", ["--adapt", "advise"], "`--adapt batch`, or `adapt: batch` in the job file"),
        ("1e9", ["--adapt", "off"], None),
        ("nan", [], None),
        # A larger batch is worth next to nothing there.
        ("1e-9", [], None),
    ],
)
def test_a_run_keeps_its_batch(cli: Cli, noise: str, options: list[str], says: str | None) -> None:
    answer = cli.run_local(job_of(cli, noise), *options, budget="10", ONCE="1")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("began at") == 1
    assert answer.stderr.count("64 → 4096") == (says is not None)
    assert says is None or says in answer.stderr
    (run,) = open_ledger(cli.home).runs()
    assert len(run.attempts) == 1


def test_a_client_that_is_killed_in_the_midst_of_the_change_leaves_nothing_open(cli: Cli) -> None:
    gate = cli.folder / "gate"
    gate.touch()
    client = cli.start(
        "run", job_of(cli, "1e9"), "--on", "local", "--local-price", "1", "--budget", "10", "--yes",
    )  # fmt: skip
    wait_for((cli.folder / "asked").exists)
    os.kill(client.pid, signal.SIGKILL)
    client.communicate()
    gate.unlink()
    # Nobody called `reconcile`: the watchdog had the books settled.
    (row,) = wait_for(lambda: [r for r in cli.ledger() if r["state"] == "settled"])
    assert (row["outcome"], row["reserved_usd"], row["attempts"]) == ("stopped", "0", 1)
    resumed = cli(
        "run", cli.folder / "job.yaml", "--on", "local", "--local-price", "1", "--resume", "last",
        "--adapt", "off", "--yes", ONCE="1",
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr
    assert "began at 0 " not in resumed.stdout


@pytest.mark.parametrize(
    ("broker", "says"),
    [
        ({"batch": None, "adapt": None}, "nothing says how large the batch may be"),
        ({"checkpoint": None, "adapt": None}, "the job has none"),
    ],
)
def test_a_flag_that_the_job_file_does_not_allow_is_refused(
    cli: Cli, broker: dict[str, Any], says: str
) -> None:
    path = job_of(cli, "1e9", **broker)
    answer = cli.run_local(path, "--adapt", "batch")
    assert answer.returncode == 2
    assert "--adapt" in answer.stderr
    assert says in answer.stderr
    assert cli.ledger() == []
