"""Runs on a node over a real sshd on loopback."""

import json
import os
import signal
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.support.mlbroker import (
    PATIENCE_S,
    Cli,
    command_lines,
    processes_with,
    read_until,
    wait_for,
)
from tests.support.sshd import Sshd, needs_openssh, running_sshd

pytestmark = needs_openssh


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path / "sshd") as server:
        yield server


@pytest.fixture
def cli(tmp_path: Path, node: Sshd) -> Cli:
    cli = Cli(tmp_path)
    cli.home.mkdir()
    (cli.home / "nodes.yaml").write_text(node.nodes_yaml())
    return cli


def run(cli: Cli, job: Path, *options: str, budget: str = "1", **extra: str) -> Any:
    return cli("run", job, "--on", "box", "--budget", budget, "--yes", *options, **extra)


def workdir(cli: Cli) -> Path:
    folder = cli.folder / "project"
    folder.mkdir()
    (folder / "train.py").write_text(
        "import os, pathlib\n"
        "print('::mlbroker step=1/1', os.environ['MLBROKER_CLOUD'])\n"
        "pathlib.Path(os.environ['MLBROKER_OUTPUT_DIR'], 'model').write_text('weights')\n"
    )
    (folder / ".gitignore").write_text("data/\n*.tmp\n")
    (folder / "data").mkdir()
    (folder / "data" / "big").write_text("ignored")
    (folder / "x.tmp").write_text("ignored")
    return folder


def test_a_bundle_goes_out_and_outputs_come_home(cli: Cli, node: Sshd) -> None:
    folder = workdir(cli)
    job = cli.job("ls; python3 train.py", workdir=str(folder), setup="echo prepared")
    answer = run(cli, job)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "prepared\ntrain.py\n::mlbroker step=1/1 ssh\n"
    assert "Bundle: 2 files" in answer.stderr
    (row,) = cli.ledger()
    assert (row["cloud"], row["instance_type"], row["outcome"]) == ("ssh", "box", "succeeded")
    outputs = cli.home / "runs" / row["run_id"] / "outputs"
    assert f"Outputs: 1 file, 0.0 kB, in {outputs}: model\n" in answer.stderr
    assert (outputs / "model").read_text() == "weights"
    # The node keeps the box's identity, not its bulk.
    (box,) = (node.node_home / ".mlbroker" / "machines").iterdir()
    assert sorted(p.name for p in box.iterdir()) == ["alive", "end.json", "spec.json"]


def test_a_job_that_leaves_nothing_to_bring_home_is_told(cli: Cli, node: Sshd) -> None:
    answer = run(cli, cli.job("echo weights > model", broker={"outputs": ["best*.pt"]}))
    assert answer.returncode == 0, answer.stderr
    assert "Outputs: best*.pt, and what the job leaves in $MLBROKER_OUTPUT_DIR." in answer.stderr
    assert "did not come home: best*.pt (nothing of this name was there)" in answer.stderr
    assert "Outputs: none, as the job left nothing in $MLBROKER_OUTPUT_DIR" in answer.stderr


def test_a_job_that_writes_beside_itself_loses_nothing(cli: Cli, node: Sshd) -> None:
    answer = run(cli, cli.job("echo weights > model; cat train.py", workdir=str(workdir(cli))))
    assert answer.returncode == 0, answer.stderr
    assert "else new files of its work directory, up to 100.0 MB" in answer.stderr
    (outputs,) = (cli.home / "runs").glob("*/outputs")
    assert [path.name for path in outputs.iterdir()] == ["model"]
    assert f"in {outputs}: model\n" in answer.stderr


def test_the_cap_holds_on_the_node_with_the_client_dead_and_the_node_away(
    cli: Cli, node: Sshd
) -> None:
    mark = f"MARK={uuid.uuid4()}"
    job = cli.job(f"export {mark}; echo up; (setsid sleep 300 &); sleep 300")
    (cli.home / "nodes.yaml").write_text(node.nodes_yaml(price_per_hour_usd=3600))
    client = cli.start("run", job, "--on", "box", "--budget", "20", "--yes")
    assert client.stdout is not None
    assert client.stdout.readline() == "up\n"
    os.kill(client.pid, signal.SIGKILL)
    client.communicate()
    node.stop()
    assert wait_for(lambda: processes_with(mark)), "the job goes on without network and client"
    wait_for(lambda: not processes_with(mark))
    away = cli("reconcile")
    assert away.returncode == 1
    assert "could not reach" in away.stderr
    assert cli.ledger()[0]["reserved_usd"] != "0", "held until the end was seen"
    node.start()
    assert cli("reconcile").returncode == 0
    (row,) = cli.ledger()
    assert (row["outcome"], row["reserved_usd"]) == ("capped", "0")
    assert Decimal(row["spent_usd"]) <= 20


def test_a_node_that_comes_back_is_picked_up_again(cli: Cli, node: Sshd) -> None:
    gate = cli.folder / "gate"
    job = cli.job(f"echo up; until test -e {gate}; do sleep 0.05; done; echo done")
    client = cli.start("run", job, "--on", "box", "--budget", "1", "--yes")
    assert client.stdout is not None
    assert client.stdout.readline() == "up\n"
    node.stop()
    read_until(client.stderr, "not reachable")
    gate.touch()
    node.start()
    rest, errors = client.communicate(timeout=PATIENCE_S)
    assert (client.returncode, rest) == (0, "done\n"), errors
    assert "answers again" in errors


def test_a_wrong_host_key_is_refused_before_anything_is_sent(cli: Cli, node: Sshd) -> None:
    other = (node.folder / "user_key.pub").read_text().split()
    (cli.home / "nodes.yaml").write_text(node.nodes_yaml(host_key=f"{other[0]} {other[1]}"))
    answer = run(cli, cli.job("true"))
    assert answer.returncode == 1
    assert "pinned" in answer.stderr
    assert list(node.node_home.iterdir()) == []
    assert [r["reserved_usd"] for r in cli.ledger()] == ["0"]


def test_jobs_take_turns_on_a_node_with_one_place(cli: Cli, node: Sshd) -> None:
    log = cli.folder / "log"
    gate = cli.folder / "gate"
    first = cli.job(
        f"echo a+ >> {log}; until test -e {gate}; do sleep 0.05; done; echo a- >> {log}"
    )
    second = cli.job(f"echo b+ >> {log}", "second")
    one = cli.start("run", first, "--on", "box", "--budget", "1", "--yes")
    wait_for(log.exists)
    two = cli.start("run", second, "--on", "box", "--budget", "1", "--yes")
    read_until(two.stderr, "waiting for one")
    gate.touch()
    for client in (one, two):
        _, errors = client.communicate(timeout=PATIENCE_S)
        assert client.returncode == 0, errors
    assert log.read_text().split() == ["a+", "a-", "b+"]


def test_secrets_reach_the_job_and_nothing_else_on_the_node(cli: Cli, node: Sshd) -> None:
    secret = f"s3cr3t-{uuid.uuid4()}"
    gate = cli.folder / "gate"
    script = f'test "$TOKEN" = "{secret[:6]}""{secret[6:]}" && echo "$TOKEN"'
    job = cli.job(f"{script}; until test -e {gate}; do sleep 0.05; done", secrets={"TOKEN": None})
    client = cli.start("run", job, "--on", "box", "--budget", "1", "--yes", TOKEN=secret)
    assert client.stdout is not None
    assert client.stdout.readline() == "***\n"
    for folder in (node.node_home, cli.home):
        held = [p for p in folder.rglob("*") if p.is_file() and secret.encode() in p.read_bytes()]
        assert held == []
    assert not [line for line in command_lines().values() if secret.encode() in line]
    gate.touch()
    client.communicate(timeout=PATIENCE_S)
    assert client.returncode == 0


def test_a_bundle_with_a_secret_in_it_is_refused(cli: Cli, node: Sshd) -> None:
    folder = workdir(cli)
    (folder / "config.py").write_text("TOKEN = 'hunter2hunter2'")
    job = cli.job("true", workdir=str(folder), secrets={"TOKEN": None})
    answer = run(cli, job, TOKEN="hunter2hunter2")
    assert answer.returncode == 2
    assert "config.py holds the value of the secret TOKEN" in answer.stderr
    assert cli.ledger() == []


def test_the_nodes_file_may_be_gone_later(cli: Cli, node: Sshd) -> None:
    (cli.home / "nodes.yaml").rename(cli.folder / "mine.yaml")
    answer = cli(
        "run", cli.job("echo up; sleep 300"), "--on", "box", "--nodes", cli.folder / "mine.yaml",
        "--budget", "1", "--yes", "--detach", "--json",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    wait_for(lambda: cli("logs").stdout == "up\n")
    assert cli("stop", json.loads(answer.stdout)["run_id"]).returncode == 0
    assert [r["outcome"] for r in cli.ledger()] == ["stopped"]
