"""Fifty planted secrets: whatever happens to the run, they are found nowhere but in the job."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.campaign import figures
from tests.support.mlbroker import PATIENCE_S, Cli, command_lines, wait_for
from tests.support.sshd import SSHD, make_sshd

TRICKY = ("", "'", '"', "$HOME", "`id`", "%s", "\\", "é", "\nsecond line of it", " # x", "=")
SECRETS = {f"SECRET_{n}": f"planted-{n:03}-{os.urandom(8).hex()}{TRICKY[n % len(TRICKY)]}"
           for n in range(50)}  # fmt: skip
NEEDLES = [value.split("\n")[0][:27] for value in SECRETS.values()]
ENDINGS = {
    "success": "exit 0",
    "failure": "exit 1",
    "traceback": 'python3 -c "import os; raise SystemExit(dict(os.environ))"',
    "crash": "kill -SEGV $$",
    "killed client": "sleep 300",
}
SHOUT = "env; set; set -x; echo $SECRET_1 $SECRET_2; set +x; sleep 0.3; "


@contextmanager
def place(name: str, cli: Cli, folder: Path) -> Iterator[list[str]]:
    """The options that run a job there."""
    if name == "local":
        yield ["--on", "local", "--local-price", "1"]
        return
    if not os.path.exists(SSHD):
        pytest.skip("needs OpenSSH: apt-get install openssh-server openssh-client")
    server = make_sshd(folder / "sshd")
    cli.home.mkdir(exist_ok=True)
    (cli.home / "nodes.yaml").write_text(server.nodes_yaml())
    try:
        yield ["--on", "box"]
    finally:
        server.stop()


def held(text: bytes) -> list[str]:
    return [needle for needle in NEEDLES if needle.encode() in text]


@pytest.mark.parametrize("where", ["local", "ssh"])
def test_no_secret_is_kept_or_shown(tmp_path: Path, where: str) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text("print('hi')")
    cli = Cli(tmp_path)
    looked = 0
    with figures(f"secrets-{where}") as kept, place(where, cli, tmp_path) as options:
        for name, ending in ENDINGS.items():
            job = cli.job(
                f"test ${{#SECRET_0}} -gt 20 || exit 9; {SHOUT}{ending}", name.replace(" ", "-"),
                workdir=str(project), secrets=dict.fromkeys(SECRETS),
            )  # fmt: skip
            client = cli.start("run", job, *options, "--budget", "1", "--yes", "--json", **SECRETS)
            seen = wait_for(lambda n=name, c=client: held_while_running(cli, c, n))
            assert seen == "clean"
            if name == "killed client":
                os.kill(client.pid, signal.SIGKILL)
            output, errors = client.communicate(timeout=PATIENCE_S)
            assert client.returncode != 9, "the job did not get its secrets"
            assert held((output + errors).encode()) == []
            if name == "killed client":
                assert cli("stop", "--all").returncode == 0
            looked += shown_clean(cli, ("logs",), ("reconcile",))
        # These show all the runs that there were.
        looked += shown_clean(
            cli, ("ps", "--all", "--json"), ("ledger", "--json"), ("ledger", "verify"),
            ("ledger", "export", "--facts", "--format", "json"),
            ("run", job, *options, "--budget", "1", "--dry-run"),
        )  # fmt: skip
        shown = subprocess.run(
            ["grep", "-rlF", *(f"-e{n}" for n in NEEDLES), str(tmp_path)], capture_output=True
        )
        assert shown.stdout.decode() == "", "files that hold a secret"
        kept |= {"secrets": len(SECRETS), "endings": len(ENDINGS), "commands": looked, "found": 0}


def shown_clean(cli: Cli, *commands: tuple[str | Path, ...]) -> int:
    """How many commands were looked at, all of which say nothing of a secret."""
    for words in commands:
        answer = cli(*words, **SECRETS)
        assert held((answer.stdout + answer.stderr).encode()) == []
    return len(commands)


def held_while_running(cli: Cli, client: "subprocess.Popen[str]", name: str) -> str | None:
    """Command lines are looked through while the job's processes are up."""
    up = any((cli.home / "runs").glob("*/log")) and any(cli.home.glob("runs/*/order.json"))
    if not up and client.poll() is None:
        return None
    found = held(b"".join(command_lines().values()))
    assert found == [], f"{name}: on a command line"
    return "clean"
