"""`mlbroker run --on local`, at the terminal, with real processes."""

import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest
from tests.support.mlbroker import PATIENCE_S, Cli, keepers_of, processes_with, wait_for

from mlbroker.broker.evidence.store import MeasurementStore
from mlbroker.broker.guest.main import answer
from mlbroker.profiles.measurement import Status


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def test_a_job_runs_and_is_settled(cli: Cli) -> None:
    job = cli.job(
        'test "$GREETING" = hi && echo "::mlbroker step=2/2" && echo r > "$MLBROKER_OUTPUT_DIR/r"',
        setup="echo prepared",
        envs={"GREETING": "hi"},
    )
    answer = cli.run_local(job, "--project", "films")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "prepared\n::mlbroker step=2/2\n"
    (row,) = cli.ledger()
    assert row["state"] == "settled"
    assert row["outcome"] == "succeeded"
    assert row["user"] == "tester"
    assert row["project"] == "films"
    assert row["reserved_usd"] == "0"
    assert Decimal(0) < Decimal(row["spent_usd"]) < Decimal("0.01")
    assert row["started_at"] < row["ended_at"]
    assert (row["cloud"], row["market"]) == ("local", "on_demand")
    outputs = cli.home / "runs" / row["run_id"] / "outputs"
    assert (outputs / "r").read_text() == "r\n"


def test_ledger_rows_have_the_promised_fields(cli: Cli) -> None:
    cli.run_local(cli.job("true"))
    (row,) = cli.ledger()
    promised = {
        "run_id", "job", "user", "project", "state", "reserved_usd", "spent_usd", "started_at",
        "ended_at", "cloud", "region", "instance_type", "market",
    }  # fmt: skip
    assert promised <= set(row)


def test_the_job_works_in_its_own_folder(cli: Cli) -> None:
    (cli.folder / "data.txt").write_text("here")
    answer = cli.run_local(cli.job("cat data.txt"))
    assert answer.stdout == "here"
    assert f"Outputs: where the job put them, in {cli.folder}\n" in answer.stderr


def test_a_failing_job_is_100_and_its_code_is_in_the_json(cli: Cli) -> None:
    answer = cli.run_local(cli.job("exit 7"), "--json")
    assert answer.returncode == 100
    document = json.loads(answer.stdout)
    assert (document["exit_code"], document["outcome"]) == (7, "failed")


@pytest.mark.parametrize("code", [0, 7])
def test_a_job_that_ends_as_its_supervisor_is_signalled_is_not_over(cli: Cli, code: int) -> None:
    """A scheduler signals both, and whatever exit code a job saves itself with is no success."""
    cli.run_local(cli.job(f"kill -TERM $PPID; exit {code}"))
    (row,) = cli.ledger()
    assert row["outcome"] == "stopped"


def test_a_failing_setup_keeps_the_job_from_running(cli: Cli) -> None:
    answer = cli.run_local(cli.job("echo ran", setup="exit 3"))
    assert answer.returncode == 100
    assert "set-up ended with exit code 3" in answer.stderr
    assert "ran" not in answer.stdout


def test_the_cap_ends_the_job_and_all_its_children(cli: Cli) -> None:
    mark = f"MARK={uuid.uuid4()}"
    job = cli.job(
        f"""
        trap '' TERM
        export {mark}
        (setsid sh -c 'trap "" TERM; sleep 300' &)
        python3 -c 'import os, time
        if os.fork(): os._exit(0)
        os.setsid()
        if os.fork(): os._exit(0)
        time.sleep(300)'
        env -i {mark} setsid sleep 300 &
        sleep 300
        """.replace("\n        ", "\n")
    )
    began = time.monotonic()
    answer = cli.run_local(job, price="3600", budget="6")
    assert answer.returncode == 3, answer.stderr
    assert time.monotonic() - began < 290, "ended by the cap, not by the sleeps"
    assert processes_with(mark) == []
    (row,) = cli.ledger()
    assert row["outcome"] == "capped"
    assert Decimal("1.5") < Decimal(row["spent_usd"]) <= Decimal(6)


def test_set_up_counts_against_the_cap(cli: Cli) -> None:
    answer = cli.run_local(cli.job("echo ran", setup="sleep 60"), price="3600", budget="3.5")
    assert answer.returncode == 3
    assert "ran" not in answer.stdout


def test_the_cap_holds_although_the_client_was_killed(cli: Cli) -> None:
    mark = f"MARK={uuid.uuid4()}"
    job = f"export {mark}; echo up; (setsid sleep 300 &); sleep 300"
    client = cli.start_local(job, budget="15", price="3600")
    os.kill(client.pid, signal.SIGKILL)
    client.communicate()
    assert wait_for(lambda: processes_with(mark)), "the job goes on without its client"
    wait_for(lambda: not processes_with(mark))
    # Nobody called `reconcile`: the watchdog had the books settled.
    row = wait_for(lambda: [r for r in cli.ledger() if r["state"] == "settled"])[0]
    assert row["outcome"] == "capped"
    assert [m.status for m in MeasurementStore(cli.home).all()] == [Status.STOPPED]
    assert Decimal(row["spent_usd"]) <= Decimal(15)


def test_a_job_whose_state_folder_is_removed_ends_with_its_supervisor(cli: Cli) -> None:
    mark = f"MARK={uuid.uuid4()}"
    client = cli.start_local(f"export {mark}; echo up; sleep 300")
    os.kill(client.pid, signal.SIGKILL)
    client.communicate()
    assert wait_for(lambda: processes_with(mark))
    shutil.rmtree(cli.home)
    wait_for(lambda: not processes_with(mark) and not processes_with(str(cli.home)))


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--local-price", "1"], 3, "Give --budget"),
        (["--local-price", "-1", "--budget", "1"], 2, "--local-price"),
        (["--local-price", "nan", "--budget", "1"], 2, "--local-price"),
        (["--local-price", "1", "--budget", "5 EUR"], 2, "USD"),
        (["--local-price", "3600", "--budget", "2"], 3, "Raise --budget"),
    ],
)
def test_without_a_bound_nothing_is_launched(
    cli: Cli, options: list[str], code: int, says: str
) -> None:
    answer = cli("run", cli.job("touch ran"), "--on", "local", "--yes", *options)
    assert answer.returncode == code, answer.stderr
    assert says in answer.stderr
    assert not (cli.folder / "ran").exists()
    assert cli.ledger() == []


def test_without_a_price_this_machine_is_reckoned_like_one_on_sale(cli: Cli) -> None:
    answer = cli("run", cli.job("true"), "--on", "local", "--budget", "0.05", "--yes")
    assert answer.returncode == 0, answer.stderr
    assert "reckoned at" in answer.stderr
    assert "--local-price" in answer.stderr
    (row,) = cli.ledger()
    assert Decimal(row["spent_usd"]) > 0


def test_an_unchanged_job_shows_its_steps_and_its_forecast(cli: Cli) -> None:
    """A bar in a library of the job's own: nothing is printed, nothing is in the job's file."""
    library = cli.folder / "lib" / "tqdm"
    library.mkdir(parents=True)
    (library / "__init__.py").write_text("from tqdm.std import tqdm\n")
    (library / "std.py").write_text(BAR)
    (cli.folder / "train.py").write_text(
        "import os, time\nfrom tqdm import tqdm\n"
        "assert not os.listdir(os.environ['MLBROKER_OUTPUT_DIR'])\n"
        "for i in tqdm(range(400)):\n"
        "    while i == 300 and not os.path.exists('gate'): time.sleep(0.02)\n"
        "    time.sleep(0.01)\n"
    )
    client = cli.start_local("echo up; PYTHONPATH=lib python3 train.py")
    wait_for(lambda: 100 <= steps_shown(cli)[0] <= 300)
    assert steps_shown(cli)[1] == 400
    (cli.folder / "gate").touch()
    output, errors = client.communicate(timeout=PATIENCE_S)
    assert (client.returncode, output) == (0, ""), errors
    assert not [p for p in cli.home.rglob("outputs/*") if p.is_file()]


# As tqdm's own class, as far as the hook knows it.
BAR = """
class tqdm:
    def __init__(self, iterable=None, total=None):
        self.iterable, self.total = iterable, total
    def __iter__(self):
        yield from self.iterable
    def update(self, n=1): pass
    def close(self): pass
"""


def steps_shown(cli: Cli) -> tuple[int, int | None]:
    (run,) = json.loads(cli("ps", "--json").stdout)["runs"]
    return run["step"] or 0, run["steps"]


def test_spending_asks_first(cli: Cli) -> None:
    answer = cli(
        "run", cli.job("touch ran"), "--on", "local", "--local-price", "1", "--budget", "1"
    )
    assert answer.returncode == 2
    assert "--yes" in answer.stderr
    assert cli.ledger() == []


def test_a_dry_run_reserves_nothing(cli: Cli) -> None:
    answer = cli.run_local(cli.job("touch ran"), "--dry-run", "--json")
    assert answer.returncode == 0
    document = json.loads(answer.stdout)
    assert document["dry_run"] is True
    assert document["reserved_usd"] == "1"
    assert not (cli.folder / "ran").exists()
    assert cli.ledger() == []


def test_a_dry_run_is_refused_by_the_policy_that_would_refuse_the_run(cli: Cli) -> None:
    policy = cli.folder / "p.yaml"
    policy.write_text("max_spend_per_run: 0.5 USD\n")
    job = cli.job("touch ran")
    dry = cli.run_local(job, "--policy", policy, "--dry-run")
    real = cli.run_local(job, "--policy", policy)
    assert (dry.returncode, real.returncode) == (3, 3)
    assert dry.stderr.splitlines()[-2:] == real.stderr.splitlines()[-2:]
    assert "1 USD is above the 0.5 USD in total" in dry.stderr


def test_interrupt_stops_the_job_and_settles(cli: Cli) -> None:
    mark = f"MARK={uuid.uuid4()}"
    job = cli.job(f"export {mark}; echo started; sleep 300")
    client = cli.start("run", job, "--on", "local", "--local-price", "1", "--budget", "1", "--yes")
    assert client.stdout is not None
    assert client.stdout.readline() == "started\n"
    client.send_signal(signal.SIGINT)
    _, errors = client.communicate(timeout=PATIENCE_S)
    assert client.returncode == 130, errors
    assert processes_with(mark) == []
    (row,) = cli.ledger()
    assert (row["state"], row["outcome"], row["reserved_usd"]) == ("settled", "stopped", "0")


def test_secrets_come_from_the_environment_and_go_nowhere_else(cli: Cli) -> None:
    secret = f"s3cr3t-{uuid.uuid4()}"
    job = cli.job('echo "token: $HF_TOKEN"', secrets={"HF_TOKEN": None})
    missing = cli.run_local(job)
    assert missing.returncode == 2
    assert "HF_TOKEN" in missing.stderr
    answer = cli.run_local(job, HF_TOKEN=secret)
    assert answer.stdout == "token: ***\n"
    kept = [p for p in cli.folder.rglob("*") if p.is_file() and secret.encode() in p.read_bytes()]
    assert kept == []


def test_a_state_folder_that_cannot_be_written_is_named(cli: Cli) -> None:
    cli.home.write_text("a file in the way")
    answer = cli.run_local(cli.job("touch ran"))
    assert answer.returncode == 1
    assert "cannot write the run's folder" in answer.stderr
    assert "MLBROKER_HOME" in answer.stderr
    assert not (cli.folder / "ran").exists()


def test_a_disk_that_is_full_launches_nothing_and_ends_nothing(cli: Cli) -> None:
    """A real file system of the smallest kind, filled to the brim."""
    cli.home.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(cli.home)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("needs root, to mount a small file system")
    try:
        assert cli.run_local(cli.job("true")).returncode == 0
        with open(cli.home / "filler", "wb") as filler, suppress(OSError):
            filler.write(b"x" * 3_000_000)
        answer = cli.run_local(cli.job("touch ran"))
        assert answer.returncode == 1, answer.stderr
        assert "pace" in answer.stderr
        assert "Traceback" not in answer.stderr
        assert not (cli.folder / "ran").exists()
        (cli.home / "filler").unlink()
        assert [row["outcome"] for row in cli.ledger()] == ["succeeded"]
        assert cli.run_local(cli.job("true")).returncode == 0
    finally:
        subprocess.run(["umount", "-l", str(cli.home)], check=True)


def test_a_job_for_several_nodes_is_refused_on_one(cli: Cli) -> None:
    answer = cli.run_local(cli.job("true", num_nodes=2))
    assert answer.returncode == 4
    assert "num_nodes" in answer.stderr


def test_keepers_asleep_over_the_kill_time_end_the_job_when_they_wake(cli: Cli) -> None:
    mark = f"MARK={uuid.uuid4()}"
    began = time.monotonic()
    client = cli.start_local(f"export {mark}; echo up; sleep 300", price="180")
    (box,) = (cli.home / "machines").iterdir()
    asleep = [*processes_with(str(box)), *processes_with(mark)]
    for pid in asleep:
        os.kill(pid, signal.SIGSTOP)
    # 1 USD pays for 20 s, 2 of them slack: these are over when the lid is opened again.
    wait_for(lambda: time.monotonic() - began > 23)
    for pid in asleep:
        os.kill(pid, signal.SIGCONT)
    _, said = client.communicate()
    assert not processes_with(mark)
    (row,) = cli.ledger()
    assert (row["outcome"], client.returncode) == ("capped", 3), said
    assert Decimal(row["spent_usd"]) <= 1


def test_keepers_that_stay_asleep_are_woken_to_end_the_job(cli: Cli) -> None:
    mark = f"MARK={uuid.uuid4()}"
    job = cli.job(f"export {mark}; echo up; sleep 300")
    assert cli.run_local(job, "--detach").returncode == 0
    wait_for(lambda: processes_with(mark))
    (box,) = (cli.home / "machines").iterdir()
    for pid in keepers_of(cli.home):
        os.kill(pid, signal.SIGSTOP)
    assert answer("end", str(box), []) == {"ended": False}
    wait_for(lambda: not processes_with(mark))
    assert cli("stop", "--all").returncode == 0
