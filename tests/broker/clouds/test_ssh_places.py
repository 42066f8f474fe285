"""Where a node's attempts are, and paths and shells that OpenSSH takes amiss."""

import os
import shutil
import signal
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.mlbroker import Cli, processes_with, wait_for
from tests.support.sshd import Sshd, needs_openssh, running_sshd

from mlbroker.broker.clouds.interface import Denied, Unclear
from mlbroker.broker.clouds.ssh.cloud import SshCloud
from mlbroker.broker.clouds.ssh.reach import Memory, Reach
from mlbroker.broker.clouds.ssh.remote import call
from mlbroker.broker.errors import CloudError

pytestmark = needs_openssh


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path / "sshd") as server:
        yield server


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path / "other") as server:
        yield server


def at_home(folder: Path, node: Sshd) -> Cli:
    cli = Cli(folder)
    cli.home.mkdir(parents=True)
    (cli.home / "nodes.yaml").write_text(node.nodes_yaml())
    return cli


def reach(node: Sshd, **fields: object) -> Reach:
    plain = {
        "name": "box", "host": "127.0.0.1", "port": node.port, "user": None,
        "identity_file": str(node.folder / "user_key"), "host_key": node.host_key,
        "known_hosts": None, "count": 1, "vcpus": 2, "gpus": 0,
    }  # fmt: skip
    return Reach(**plain | fields)  # type: ignore[arg-type]


def test_a_run_is_looked_for_where_it_was_made(tmp_path: Path, node: Sshd, other: Sshd) -> None:
    """The nodes file gives its name to another machine, then to none, while the job computes."""
    cli, mark = at_home(tmp_path, node), f"MARK={uuid.uuid4()}"
    job = cli.job(f"export {mark}; echo up; sleep 300")
    client = cli.start("run", job, "--on", "box", "--budget", "1", "--yes")
    assert client.stdout is not None
    assert client.stdout.readline() == "up\n"
    os.kill(client.pid, signal.SIGKILL)
    client.communicate()
    (cli.home / "nodes.yaml").write_text(other.nodes_yaml())
    answer = cli("reconcile")
    assert answer.returncode == 0, answer.stderr
    assert "goes on on ssh" in answer.stderr
    # A new run on the new machine does not make the old one forgotten.
    assert cli("run", cli.job("true"), "--on", "box", "--budget", "1", "--yes").returncode == 0
    assert "goes on on ssh" in cli("reconcile").stderr
    (cli.home / "nodes.yaml").unlink()
    node.stop()
    away = cli("reconcile")
    assert (away.returncode, "could not reach" in away.stderr) == (1, True)
    node.start()
    (cli.home / "nodes.yaml").write_text("not: [a nodes file")
    assert processes_with(mark)
    assert cli("stop", "--all").returncode == 0
    wait_for(lambda: not processes_with(mark))
    assert sorted(row["outcome"] for row in cli.ledger()) == ["stopped", "succeeded"]
    assert list((cli.home / "ssh").glob("*.attempt.json")) == []


def test_a_node_that_moved_is_found_at_its_new_address(tmp_path: Path, node: Sshd) -> None:
    """Only where its box is: an address alone proves nothing."""
    home = tmp_path / "home"
    home.mkdir()
    Memory(home).keep(reach(node, port=1), "mlb-r1-1")
    (home / "nodes.yaml").write_text(node.nodes_yaml())
    with pytest.raises(Unclear):
        SshCloud(home).status("box/mlb-r1-1")
    box = node.node_home / ".mlbroker" / "machines" / "mlb-r1-1"
    box.mkdir(parents=True)
    (box / "alive").write_text("started\n")
    (box / "spec.json").write_text('{"started_at": "2026-11-24T12:00:00+00:00"}')
    with pytest.raises(Unclear):
        SshCloud(home).status("box/mlb-r1-1")
    (box / "end.json").write_text('{"why": "finished", "elapsed_s": 60}')
    machine = SshCloud(home).status("box/mlb-r1-1")
    assert machine is not None
    assert machine.ended_at is not None


@pytest.mark.parametrize("home", ["50%done", "Application Support", 'a "b" %h%%'])
def test_no_path_is_read_as_a_sign_of_sshs(tmp_path: Path, node: Sshd, home: str) -> None:
    cli = at_home(tmp_path / home, node)
    key = cli.home / "key"
    shutil.copy(node.folder / "user_key", key)
    (cli.home / "nodes.yaml").write_text(node.nodes_yaml(identity_file=str(key)))
    # As long as batch systems set it: too long for a socket in it.
    scratch = tmp_path / ("scratch-of-somebody-" + "x" * 60)
    scratch.mkdir()
    job = cli.job("echo done")
    answer = cli("run", job, "--on", "box", "--budget", "1", "--yes", TMPDIR=str(scratch))
    assert (answer.returncode, answer.stdout) == (0, "done\n"), answer.stderr


def test_a_path_that_ssh_cannot_be_given_is_named(tmp_path: Path, node: Sshd) -> None:
    with pytest.raises(Denied, match="cannot be given a path"):
        call(reach(node, identity_file="/a${b}"), tmp_path, ["true"], at_most=100)


def test_what_a_shell_says_to_everybody_is_no_answer(tmp_path: Path, node: Sshd) -> None:
    landing = node.folder / "landing.sh"
    landing.write_text(landing.read_text().replace("cd ", "printf 'Welcome to \\377box'; cd ", 1))
    cli = at_home(tmp_path, node)
    job = cli.job("echo out > $MLBROKER_OUTPUT_DIR/out; echo done")
    answer = cli("run", job, "--on", "box", "--budget", "1", "--yes")
    assert (answer.returncode, answer.stdout) == (0, "done\n"), answer.stderr
    (row,) = cli.ledger()
    assert (cli.home / "runs" / row["run_id"] / "outputs" / "out").read_text() == "out\n"


def test_an_answer_without_end_is_cut_off(tmp_path: Path, node: Sshd) -> None:
    with pytest.raises(Unclear, match="more than 1000 bytes"):
        call(reach(node), tmp_path, ["yes"], at_most=1000)
    complaining = ["sh", "-c", "head -c 3000000 /dev/zero >&2; echo no >&2; exit 3"]
    with pytest.raises(Denied, match=r"the guest program failed: .*no"):
        call(reach(node), tmp_path, complaining, at_most=1000)
    given = call(reach(node), tmp_path, ["wc", "-c"], stdin=b"x" * 3_000_000, at_most=1000)
    assert given.strip() == b"3000000"
    assert call(reach(node), tmp_path, ["true"], stdin=b"x" * 3_000_000, at_most=1000) == b""


def test_a_port_that_nobody_named_is_left_to_sshs_configuration(tmp_path: Path) -> None:
    from mlbroker.broker.clouds.ssh.remote import command_line

    plain = Reach("box", "gpu-box", None, None, None, None, None, 1, 2, 0)
    assert "-p" not in command_line(plain, tmp_path)


def configured(folder: Path, text: str) -> str:
    """A PATH whose ssh reads this configuration, as `~/.ssh/config` of the password file's home."""
    (folder / "config").write_text(text)
    program = folder / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F "{folder}/config" "$@"\n')
    program.chmod(0o755)
    return f"{program.parent}{os.pathsep}{os.environ['PATH']}"


def test_sshs_configuration_decides_what_the_nodes_file_leaves_open(
    tmp_path: Path, node: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it says what only a shell of the user's needs: a command, a tunnel, a terminal."""
    key = tmp_path / "my key"
    shutil.copy(node.folder / "user_key", key)
    (tmp_path / "more").write_text(
        "Match originalhost gpu-box,gateway\n HostName 127.0.0.1\n"
        f' Port {node.port}\n IdentityFile "{key}"\n'
        "Host gateway\n StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n"
    )
    monkeypatch.setenv("PATH", configured(
        tmp_path,
        f"Include {tmp_path}/more\nHost gpu-box\n"
        f" ProxyJump gateway\n ControlPath {tmp_path}/mine-%C\n"
        " RemoteCommand tmux attach\n RequestTTY force\n"
        f" LocalForward {node.port} localhost:2\n ExitOnForwardFailure yes\n",
    ))  # fmt: skip
    alias = reach(node, host="gpu-box", port=None, identity_file=None)
    assert call(alias, tmp_path, ["echo", "in"]) == b"in\n"
    # A key that is pinned by its line, or in a file that knows the host as ssh calls it.
    known = tmp_path / "known hosts"
    known.write_text(f"[127.0.0.1]:{node.port} {node.host_key}\n")
    alias = replace(alias, host_key=None, known_hosts=str(known))
    assert call(alias, tmp_path, ["echo", "in"]) == b"in\n"


@pytest.mark.parametrize(
    ("fields", "config", "said"),
    [
        ({"port": 1}, "", "not reachable: ssh: connect to host 127.0.0.1 port 1: Connection refus"),
        ({"host": "no-such.invalid"}, "", "not reachable: .*resolve hostname no-such.invalid"),
        (
            {},
            "Host 127.0.0.1\n ProxyJump localhost:1",
            "not reachable: .*port 1: Connection refused",
        ),
        ({}, "Nonsense yes", "not reachable: .*Bad configuration option: nonsense"),
        (
            {"identity_file": "/no key"},
            "",
            r"does not let you in: .*Permission denied(.|\n)*there is no /no key",
        ),
        ({"host_key": None}, "UserKnownHostsFile /dev/null", "not known: No .* is known for"),
        ({"host_key": "KEY"}, "", "not the one that is pinned: .*; Host key verification failed"),
    ],
)
def test_what_ssh_says_is_told(
    tmp_path: Path, node: Sshd, monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, Any], config: str, said: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("PATH", configured(tmp_path, f"{config}\n"))
    if fields.get("host_key"):
        fields["host_key"] = " ".join((node.folder / "user_key.pub").read_text().split()[:2])
    with pytest.raises(CloudError, match=said):
        call(reach(node, **fields), tmp_path, ["true"])


@pytest.mark.parametrize("code", [0, 1])
def test_a_shell_that_runs_nothing_is_quoted(tmp_path: Path, node: Sshd, code: int) -> None:
    landing = node.folder / "landing.sh"
    landing.write_text(f"#!/bin/sh\necho This account is not available.\nexit {code}\n")
    with pytest.raises(Unclear, match=r"does not run .*: This account is not available\."):
        call(reach(node), tmp_path, ["true"])


def test_a_node_that_does_not_answer_is_told_at_once_and_holds_no_money(
    tmp_path: Path, node: Sshd
) -> None:
    cli = at_home(tmp_path, node)
    (cli.home / "nodes.yaml").write_text(node.nodes_yaml(port=1))
    before = time.monotonic()
    answer = cli("run", cli.job("true"), "--on", "box", "--budget", "1", "--yes")
    assert (answer.returncode, "Connection refused" in answer.stderr) == (1, True), answer.stderr
    assert "asking once more" in answer.stderr
    assert time.monotonic() - before < 50, "it waited for a machine that nothing is on"
    (row,) = cli.ledger()
    assert (row["outcome"], row["reserved_usd"]) == ("not_launched", "0")
