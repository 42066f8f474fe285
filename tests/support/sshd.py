"""A real sshd on loopback with keys of its own, whose users land in a folder of the test's."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.mlbroker import PATIENCE_S

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
needs_openssh = pytest.mark.skipif(
    not os.path.exists(SSHD) or shutil.which("ssh") is None,
    reason="needs OpenSSH: apt-get install openssh-server openssh-client",
)
# SHLVL keeps bash from the start-up file of whoever runs the tests, which it reads below sshd and
# which may take its time.
CONFIG = """
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
PidFile {folder}/pid
AuthorizedKeysFile {folder}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
MaxStartups 100
MaxSessions 100
ForceCommand {folder}/landing.sh
SetEnv SHLVL=1
"""


class PortTaken(Exception):
    """The server ended at once; its log says why."""


@dataclass
class Sshd:
    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def node_home(self) -> Path:
        return self.folder / "node"

    @property
    def host_key(self) -> str:
        kind, key, *_ = (self.folder / "host_key.pub").read_text().split()
        return f"{kind} {key}"

    def nodes_yaml(self, **node: object) -> str:
        import json

        fields = {
            "name": "box",
            "host": "127.0.0.1",
            "port": self.port,
            "identity_file": str(self.folder / "user_key"),
            "host_key": self.host_key,
            "hardware": {"vcpus": 2, "memory_gib": 4},
            "price_per_hour_usd": 1,
            **node,
        }
        return json.dumps({"nodes": [fields]})

    def start(self) -> None:
        self.process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=open(self.folder / "sshd.log", "ab"),  # noqa: SIM115  # the server's for life
        )
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                said = (self.folder / "sshd.log").read_text()
                if self.process.poll() is not None:
                    raise PortTaken(said) from None
                assert time.monotonic() < until, said
                time.sleep(0.02)

    def stop(self) -> None:
        """As if the node left the network: no new connections, and the old ones are cut."""
        if self.process is not None:
            # All stand still first: a server whose connections are being cut takes on the next.
            standing: set[int] = set()
            while moving := {self.process.pid, *_children(self.process.pid)} - standing:
                _signal(moving, signal.SIGSTOP)
                standing |= moving
            _signal(standing, signal.SIGKILL)
            self.process.wait()
            self.process = None


def make_sshd(folder: Path) -> Sshd:
    """Keys, configuration and a started server."""
    folder.mkdir(parents=True)
    (folder / "node").mkdir()
    for name in ("host_key", "user_key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True
        )
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
    landing = folder / "landing.sh"
    landing.write_text(
        f"#!/bin/sh\ncd {folder / 'node'}\nexport HOME={folder / 'node'}\n"
        'exec sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    landing.chmod(0o755)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    # Between the look for a free port and the server's start, another may take it.
    for _ in range(5):
        server = Sshd(folder, _free_port())
        (folder / "sshd_config").write_text(CONFIG.format(port=server.port, folder=folder))
        with contextlib.suppress(PortTaken):
            server.start()
            return server
    raise PortTaken((folder / "sshd.log").read_text())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # gone on its own
            os.kill(pid, number)


def _children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found += [int(entry.name), *_children(int(entry.name))]
    return found


@contextlib.contextmanager
def running_sshd(folder: Path) -> Iterator[Sshd]:
    """The same, stopped in the end."""
    server = make_sshd(folder)
    yield server
    server.stop()
