"""Checkpoints: saved on their period and at the end, restored by the next attempt or run."""

import json
import shutil
from decimal import Decimal
from pathlib import Path

import pytest
from tests.support.mlbroker import Cli, wait_for

COUNTER = """
import os, pathlib, time
folder = pathlib.Path(os.environ["MLBROKER_CHECKPOINT_DIR"]); folder.mkdir(exist_ok=True)
state = folder / "step"
step = int(state.read_text()) if state.exists() else 0
print("from", step, flush=True)
while step < 600:
    step += 1
    part = folder / "part"; part.write_text(str(step)); part.replace(state)
    print(f"::mlbroker step={step}/600", flush=True)
    if (pathlib.Path("slow")).exists():
        time.sleep(0.1)
print("done", flush=True)
"""
CHECKPOINT = {"checkpoint": {"path": "ckpt", "every": "1s"}}


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    (tmp_path / "count.py").write_text(COUNTER)
    return Cli(tmp_path)


def test_a_capped_run_is_resumed_with_what_it_left(cli: Cli) -> None:
    (cli.folder / "slow").touch()
    job = cli.job("python3 count.py", broker=CHECKPOINT)
    first = cli.run_local(job, budget="20", price="3600")
    assert first.returncode == 3, first.stderr
    (row,) = cli.ledger()
    assert (cli.home / "runs" / row["run_id"] / "checkpoint.tar").exists()
    # The folder itself may be gone: another machine would not have it.
    shutil.rmtree(cli.folder / "ckpt")
    (cli.folder / "slow").unlink()
    left = Decimal("20") - Decimal(row["spent_usd"])
    dear = cli("run", job, "--on", "local", "--local-price", "36000", "--resume", "last", "--yes")
    assert dear.returncode == 3, "what is left does not pay for the kill slack"
    answer = cli(
        "run", job, "--on", "local", "--local-price", "60", "--resume", row["run_id"],
        "--yes", "--json",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert Decimal(json.loads(answer.stdout)["budget_usd"]) == left
    started_at = int(answer.stderr.partition("from ")[2].split()[0])
    assert started_at > 0
    assert "done" in answer.stderr


def test_a_checkpoint_is_saved_while_the_job_runs(cli: Cli) -> None:
    (cli.folder / "slow").touch()
    job = cli.job("python3 count.py; sleep 300", broker=CHECKPOINT)
    assert cli.run_local(job, "--detach").returncode == 0
    wait_for(lambda: list((cli.home / "machines").glob("*/checkpoint.tar")))
    wait_for(lambda: list((cli.home / "runs").glob("*/checkpoint.tar")))
    assert cli("stop", "--all").returncode == 0


def test_resuming_asks_for_the_same_job_and_a_checkpoint(cli: Cli) -> None:
    assert cli.run_local(cli.job("true", "one")).returncode == 0
    other = cli.run_local(cli.job("true", "two"), "--resume", "last")
    assert (other.returncode, "was of job one" in other.stderr) == (2, True)
    none = cli.run_local(cli.job("true", "one"), "--resume", "last")
    assert (none.returncode, "left no checkpoint" in none.stderr) == (2, True)


def test_a_run_that_still_goes_on_is_not_resumed_into_a_twin(cli: Cli) -> None:
    (cli.folder / "slow").touch()
    job = cli.job("python3 count.py", broker=CHECKPOINT)
    assert cli.run_local(job, "--detach").returncode == 0
    wait_for(lambda: list((cli.home / "runs").glob("*/checkpoint.tar")))
    (folder,) = (cli.home / "runs").iterdir()
    for budget in ((), ("--budget", "1")):
        twin = cli(
            "run", job, "--on", "local", "--local-price", "1", "--resume", folder.name, "--yes",
            *budget,
        )  # fmt: skip
        assert (twin.returncode, "is not settled yet" in twin.stderr) == (2, True), twin.stderr
    assert list((cli.home / "runs").iterdir()) == [folder]
    assert cli("stop", "--all").returncode == 0
