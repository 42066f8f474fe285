"""`ps`, `logs`, `stop`, `reconcile`, `run --detach`: runs looked after from other processes."""

import csv
import io
import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.mlbroker import (
    PATIENCE_S,
    SCRIPT,
    Cli,
    keepers_of,
    processes_with,
    wait_for,
)

from mlbroker.broker.clouds import opener
from mlbroker.broker.clouds.interface import Payload
from mlbroker.broker.errors import CloudError
from mlbroker.broker.ledger import State, open_ledger
from mlbroker.broker.runs.attempt import intent_of
from mlbroker.broker.runs.bypass import Bypass
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.launch import reserve
from mlbroker.broker.runs.order import LaunchOption, Order
from mlbroker.broker.runs.view import View
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.vendors import Meter


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def ps(cli: Cli, *options: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(cli("ps", "--json", *options).stdout)["runs"]
    return rows


def detached(cli: Cli, script: str, **fields: Any) -> str:
    answer = cli.run_local(cli.job(script, **fields), "--detach", "--json")
    assert answer.returncode == 0, answer.stderr
    run_id: str = json.loads(answer.stdout)["run_id"]
    return run_id


def test_a_detached_run_is_seen_followed_and_settled(cli: Cli) -> None:
    gate = cli.folder / "gate"
    run_id = detached(
        cli, f'echo "::mlbroker step=1/2"; until test -e {gate}; do sleep 0.05; done; echo done'
    )
    (row,) = wait_for(lambda: [r for r in ps(cli) if r["step"] == 1])
    assert (row["run_id"], row["phase"], row["steps"]) == (run_id, "running", 2)
    assert row["unattended"] is False
    follower = cli.start("logs", "-f", run_id[:15])
    assert follower.stdout is not None
    assert follower.stdout.readline() == "::mlbroker step=1/2\n"
    gate.touch()
    rest, errors = follower.communicate(timeout=PATIENCE_S)
    assert (rest, follower.returncode) == ("done\n", 0), errors
    assert ps(cli) == []
    assert [r["outcome"] for r in ps(cli, "--all")] == ["succeeded"]
    assert cli("logs").stdout == "::mlbroker step=1/2\ndone\n"


def test_a_checkpoint_that_is_not_saved_is_told_at_once_and_until_it_is(cli: Cli) -> None:
    gate = cli.folder / "gate"
    script = f"until test -e {gate}; do sleep 0.05; done; mkdir ckpt; echo 1 > ckpt/w; sleep 300"
    detached(cli, script, broker={"checkpoint": {"path": "ckpt/", "every": "1s"}})
    why = "no checkpoint is saved: its folder holds no file so far"
    wait_for(lambda: [row["checkpoint_fault"] for row in ps(cli)] == [why])
    assert "running (checkpoint not saved)" in " ".join(cli("ps").stdout.split())
    wait_for(lambda: cli("logs").stdout == f"[mlbroker] {why}\n")
    gate.touch()
    wait_for(lambda: [row["checkpoint_fault"] for row in ps(cli)] == [None])
    cli("stop", "--all")


def test_stop_ends_a_run_carried_by_another_process(cli: Cli) -> None:
    mark = f"MARK={uuid.uuid4()}"
    run_id = detached(cli, f"export {mark}; echo up; sleep 300")
    wait_for(lambda: cli("logs", run_id).stdout == "up\n")
    answer = cli("stop", run_id)
    assert answer.returncode == 0, answer.stderr
    assert processes_with(mark) == []
    assert [(r["outcome"], r["reserved_usd"]) for r in cli.ledger()] == [("stopped", "0")]
    assert "over already" in cli("stop", run_id).stderr


def test_all_runs_are_asked_to_stop_before_the_first_is_waited_for(cli: Cli) -> None:
    for _ in range(2):
        detached(cli, "echo up; sleep 300")
    answer = cli("stop", "--all")
    assert answer.returncode == 0, answer.stderr
    # On a busy machine a carrier may take its time: then its machine is asked too, which is said.
    lines = [
        line for line in answer.stderr.splitlines() if "asking its machine past it" not in line
    ]
    told = [line.rstrip("… ").split(" ", 2)[2].split(",")[0] for line in lines]
    assert told == ["is asked to stop", "is asked to stop", "stopped", "stopped"]
    assert [run["outcome"] for run in cli.ledger()] == ["stopped", "stopped"]


def test_stop_works_when_the_client_is_dead(cli: Cli) -> None:
    client = cli.start_local("echo up; sleep 300")
    os.kill(client.pid, signal.SIGKILL)
    client.communicate()
    (row,) = ps(cli)
    assert row["unattended"] is True
    answer = cli("stop", "--all")
    assert answer.returncode == 0, answer.stderr
    assert [r["outcome"] for r in cli.ledger()] == ["stopped"]


def test_stop_ends_the_job_of_a_client_that_is_suspended(cli: Cli) -> None:
    mark = f"MARK={uuid.uuid4()}"
    client = cli.start_local(f"export {mark}; echo up; sleep 300")
    # From here on it only looks: it is not suspended while it writes to the ledger.
    wait_for(lambda: ps(cli)[0]["state"] == "running")
    os.kill(client.pid, signal.SIGSTOP)
    stopped = cli("stop", "--all")
    assert stopped.returncode == 0, stopped.stderr
    assert processes_with(mark) == []
    assert f"is carried by process {client.pid} on {socket.gethostname()} since" in stopped.stderr
    assert "which is suspended" in stopped.stderr
    (row,) = cli.ledger()
    assert (row["state"], row["reserved_usd"]) == ("running", "1"), "its account is left to it"
    os.kill(client.pid, signal.SIGCONT)
    _, said = client.communicate()
    assert client.returncode == 130, said
    (row,) = cli.ledger()
    assert (row["outcome"], row["reserved_usd"]) == ("stopped", "0")
    assert Decimal(0) < Decimal(row["spent_usd"]) < Decimal("0.1")
    facts = [fact.kind for fact in open_ledger(cli.home).facts()]
    assert facts.count("terminated") == facts.count("settled") == 1


def test_a_start_still_to_come_is_kept_from_coming(cli: Cli) -> None:
    """The client stands still between arming the kill switch and asking for the machine."""
    folder, now = RunFolder.of(cli.home, "r1"), datetime.now(UTC)
    one = LaunchOption("local", "on-prem", "local", "on_demand", Bill(Decimal(1), 1, Meter()))
    order = Order("r1", "job", (one,), {"command": "true"})
    ledger, opened = open_ledger(cli.home), opener(cli.home)
    reserve(
        ledger, folder, order, now, cap_usd=Decimal(1), worst_usd=Decimal(1), user="u",
        project=None, facts={},
    )  # fmt: skip
    client = Driver(ledger, opened, Clock(), folder, View(), {})
    while client.advance("r1").state is not State.ARMED:
        pass
    run = ledger.append(now, "r1", "stop_requested", {"why": "stopped", "by": "u"})
    assert Bypass(opened, folder, Clock()).gone(run)
    with pytest.raises(CloudError, match="cancelled"):
        opened("local").create(intent_of(run, run.attempt, order), Payload({"command": "true"}))
    assert client.drive("r1").outcome == "stopped"


def test_reconcile_leaves_a_healthy_run_alone(cli: Cli) -> None:
    gate = cli.folder / "gate"
    client = cli.start_local(
        f"echo up; until test -e {gate}; do sleep 0.05; done; head -c 3000000 /dev/zero; sleep 300"
    )
    attended = json.loads(cli("reconcile", "--json").stdout)["findings"]
    assert [f["did"] for f in attended] == ["attended"]
    assert f"process {client.pid} on" in attended[0]["detail"]
    os.kill(client.pid, signal.SIGKILL)
    client.communicate()
    left = json.loads(cli("reconcile", "--json").stdout)["findings"]
    assert [f["did"] for f in left] == ["still_running"]
    # Read where it is, as nobody brings it home: all of it.
    assert cli("logs").stdout == "up\n"
    gate.touch()
    wait_for(lambda: len(cli("logs").stdout) == 3_000_003)
    cli("stop", "--all")


def test_reconcile_settles_what_a_dead_machine_left(cli: Cli) -> None:
    """Client, watchdog and supervisor are all killed: the job's processes are found and ended."""
    mark = f"MARK={uuid.uuid4()}"
    client = cli.start_local(f"export {mark}; echo up; sleep 300")
    os.kill(client.pid, signal.SIGKILL)
    client.communicate()
    watchers = keepers_of(cli.home)
    for pid in watchers:
        os.kill(pid, signal.SIGSTOP)
    for pid in watchers:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not set(watchers) & set(processes_with(str(cli.home))))
    assert processes_with(mark)
    answer = cli("reconcile")
    assert answer.returncode == 0, answer.stderr
    assert "is over (machine_failed): ending local on local …\nsettled run" in answer.stderr
    assert processes_with(mark) == []
    (row,) = cli.ledger()
    assert (row["state"], row["reserved_usd"]) == ("settled", "0")
    assert "nothing to do" in cli("reconcile").stderr


def test_a_reservation_without_a_machine_is_released(cli: Cli) -> None:
    """The client died between the reservation and the intent."""
    one = Decimal(1)
    machine = LaunchOption("local", "on-prem", "local", "on_demand", Bill(one, 1, Meter()))
    order = Order("r1", "job", (machine,), {})
    reserve(
        open_ledger(cli.home), RunFolder.of(cli.home, "r1"), order, datetime.now(UTC),
        cap_usd=one, worst_usd=one, user="u", project=None, facts={},
    )  # fmt: skip
    assert cli.ledger()[0]["reserved_usd"] == "1"
    assert cli("reconcile").returncode == 0
    (row,) = cli.ledger()
    assert (row["outcome"], row["reserved_usd"], row["spent_usd"]) == ("abandoned", "0", "0")


def test_ledger_filters_totals_and_exports(cli: Cli) -> None:
    for project, name in (("a", "one"), ("b", "two")):
        assert cli.run_local(cli.job("true", name), "--project", project).returncode == 0
    document = json.loads(cli("ledger", "--project", "b", "--json").stdout)
    assert [row["job"] for row in document["runs"]] == ["two"]
    assert document["total"]["spent_usd"] == document["runs"][0]["spent_usd"]
    assert json.loads(cli("ledger", "--month", "1999-01", "--json").stdout)["runs"] == []
    assert cli("ledger", "--month", "November").returncode == 2
    table = list(csv.DictReader(io.StringIO(cli("ledger", "export").stdout)))
    assert [row["job"] for row in table] == ["one", "two"]
    facts = json.loads(cli("ledger", "export", "--facts", "--format", "json").stdout)["facts"]
    kinds = [fact["kind"] for fact in facts if fact["run_id"] == table[0]["run_id"]]
    # A job this short may be over before it is seen running.
    kinds = [kind for kind in kinds if kind != "running"]
    assert kinds == [
        "reserved", "intended", "armed", "created", "confirmed", "ended", "collected",
        "terminating", "terminated", "disarmed", "settled",
    ]  # fmt: skip
    head = json.loads(cli("ledger", "verify", "--json").stdout)["head"]
    assert cli("ledger", "verify", "--head", head).returncode == 0
    assert cli("ledger", "verify", "--head", head[:-1] + "x").returncode == 1


@pytest.mark.parametrize("options", [(), ("--follow",)])
def test_a_log_is_shown_without_being_held_in_memory(cli: Cli, options: tuple[str, ...]) -> None:
    cli.run_local(cli.job("true"))
    log = RunFolder.of(cli.home, cli.ledger()[0]["run_id"]).log
    with open(log, "wb") as file:
        file.truncate(400_000_000)
    status = cli.folder / "status"
    script = (
        "import atexit, pathlib\n"
        f"status = pathlib.Path({str(status)!r})\n"
        "atexit.register(lambda: status.write_bytes(open('/proc/self/status', 'rb').read()))\n"
    )
    argv = [sys.executable, "-c", script + SCRIPT, "logs", *options]
    with subprocess.Popen(argv, env=cli.environment(), stdout=subprocess.PIPE) as shown:
        assert shown.stdout is not None
        pieces = iter(partial(shown.stdout.read, 1 << 20), b"")
        assert sum(map(len, pieces)) == 400_000_000
    assert shown.returncode == 0
    (most,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
    assert int(most.split()[1]) < 200_000, most


def test_runs_that_do_not_exist_are_named(cli: Cli) -> None:
    assert cli("logs").returncode == 2
    cli.run_local(cli.job("true"))
    answer = cli("stop", "nosuch")
    assert answer.returncode == 2
    assert "nosuch" in answer.stderr
