"""The user's own machines over SSH: OpenSSH's client, pinned host keys, Python 3.8 on the node.

Nothing but fixed words and checked tokens is ever part of a remote command line; what a job says
travels as files and on standard input.
"""

import hashlib
import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from threading import Timer
from typing import IO, Any

from mlbroker.broker.clouds.arriving import Arriving
from mlbroker.broker.clouds.guest_report import ANSWER_BYTES, document
from mlbroker.broker.clouds.interface import Cloud, Denied, Intent, Traits, Unclear
from mlbroker.broker.clouds.on_prem import BoxCloud, Host
from mlbroker.broker.files.nodes import Node, load_nodes, nodes_file
from mlbroker.broker.guest import box as files
from mlbroker.broker.guest.bundle import guest_program

ROOT = ".mlbroker"
CONNECT_S = 10
CALL_S = 120
TRANSFER_S = 3600
# One connection serves all calls and lingers so long after the last.
LINGER_S = 15
_UNREACHABLE = 255
_PROGRAM = ("python3", "-I", "-S")
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Reach:
    """How a node is reached, and how many jobs of which size it takes at a time."""

    name: str
    host: str
    port: int
    user: str | None
    identity_file: str | None
    host_key: str | None
    known_hosts: str | None
    count: int
    vcpus: float
    gpus: int

    @classmethod
    def of(cls, node: Node) -> "Reach":
        """What of a node matters here."""
        assert node.host is not None
        return cls(
            node.name,
            node.host,
            node.port,
            node.user,
            None if node.identity_file is None else str(node.identity_file),
            node.host_key,
            None if node.known_hosts is None else str(node.known_hosts),
            node.count,
            node.hardware.vcpus,
            int(node.hardware.gpu_count),
        )


class SshCloud(BoxCloud):
    """Nodes of the nodes file that have a host."""

    traits = Traits(
        kill_slack_s=2.0,
        visible_after_s=0.0,
        poll_s=0.5,
        layers=(
            "the supervisor of the job on the node",
            "a watchdog process on the node that watches the supervisor",
        ),
        queues=True,
    )

    def __init__(self, home: Path) -> None:
        self._home = home
        self._open: dict[str, _SshHost] = {}

    def arm_kill(self, intent: Intent) -> None:
        """Keep how the node is reached: a later process may have another nodes file, or none."""
        self._remember(self._node(intent.instance_type))

    def host(self, name: str) -> Host:
        """The node of this name."""
        if name not in self._open:
            self._open[name] = _SshHost(self._node(name), self._home)
        return self._open[name]

    def hosts(self) -> Sequence[str]:
        """The nodes that were ever used from this state folder."""
        return sorted(self._remembered())

    def _node(self, name: str) -> Reach:
        path = nodes_file(self._home)
        nodes = load_nodes(path) if path is not None else []
        for node in nodes:
            if node.name == name and node.host is not None:
                return Reach.of(node)
        known = self._remembered().get(name)
        if known is None:
            raise Denied(f"no node {name!r} with a host in {path or 'any nodes file'}")
        return known

    def _remembered(self) -> dict[str, Reach]:
        nodes: dict[str, Reach] = {}
        for path in sorted((self._home / "ssh").glob("*.node.json")):
            raw = json.loads(path.read_text(encoding="utf-8"))
            nodes[raw["name"]] = Reach(**raw)
        return nodes

    def _remember(self, node: Reach) -> None:
        folder = _kept_in(self._home)
        files.write_json(str(folder), f"{_file_name(node.name)}.node.json", asdict(node))


def open_cloud(home: Path) -> Cloud:
    """This state folder's."""
    return SshCloud(home)


class _SshHost:
    """One node. The guest program is sent once for each of its versions."""

    def __init__(self, node: Reach, home: Path) -> None:
        self._node = node
        self._home = home
        self._sent = False

    def ask(self, action: str, token: str, *rest: str) -> Mapping[str, object]:
        return self._answer(action, _box(token), *rest)

    def start(
        self, token: str, spec: Mapping[str, Any], secrets: Mapping[str, str]
    ) -> Mapping[str, object]:
        order = json.dumps({"spec": dict(spec), "secrets": dict(secrets)}).encode()
        return self._answer("start", _box(token), stdin=order)

    def put(self, token: str, name: str, source: Path) -> None:
        with open(source, "rb") as file:
            self._guest("put", _box(token), name, source=file)

    def read(self, token: str, name: str, offset: int) -> bytes:
        return self._guest("read", _box(token), name, str(offset))

    def get(self, token: str, name: str, into: Arriving) -> None:
        self._send_program()
        command = [*self._ssh(), shlex.join([*_PROGRAM, _program_name(), "get", _box(token), name])]
        with (
            tempfile.TemporaryFile() as said,
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                start_new_session=True,
            ) as process,
        ):
            assert process.stdout is not None
            late = Timer(TRANSFER_S, process.kill)
            late.start()
            try:
                for chunk in iter(partial(process.stdout.read, _CHUNK), b""):
                    into.write(chunk)
                code = process.wait()
            finally:
                # Also when it sends more than there is room for.
                late.cancel()
                process.kill()
            said.seek(0)
            errors = said.read(ANSWER_BYTES).decode("utf-8", "replace").strip()
        if code < 0:
            raise Unclear(f"{self._node.name} did not send {name} in {TRANSFER_S} s")
        if code != 0:
            self._fail(code, errors)

    def listing(self) -> Mapping[str, object]:
        return self._answer("list", f"{ROOT}/machines")

    def room(self) -> bool:
        return bool(self._answer("room", self._slots(), str(self._node.count)).get("room"))

    def extras(self, intent: Intent) -> Mapping[str, Any]:
        return {
            "slots": {
                "root": "~/" + self._slots(),
                "count": self._node.count,
                "vcpus": self._node.vcpus,
                "gpus": self._node.gpus,
            }
        }

    def _slots(self) -> str:
        return f"{ROOT}/slots/{_file_name(self._node.name)}"

    def _answer(self, *words: str, stdin: bytes | None = None) -> Mapping[str, object]:
        return document(self._guest(*words, stdin=stdin), ANSWER_BYTES)

    def _guest(
        self,
        *words: str,
        stdin: bytes | None = None,
        source: IO[bytes] | None = None,
    ) -> bytes:
        """The guest program's answer to one action."""
        self._send_program()
        return self._remote([*_PROGRAM, _program_name(), *words], stdin=stdin, source=source)

    def _send_program(self) -> None:
        if self._sent:
            return
        name = _program_name()
        have = self._remote(["sh", "-c", f"test -f {name} && echo yes || echo no"])
        if have.strip() != b"yes":
            part = f"{name}.$$.part"
            take = f"umask 077 && mkdir -p {ROOT} && cat > {part} && mv {part} {name}"
            self._remote(["sh", "-c", take], stdin=guest_program())
        self._sent = True

    def _remote(
        self,
        words: Sequence[str],
        *,
        stdin: bytes | None = None,
        source: IO[bytes] | None = None,
    ) -> bytes:
        """Run one command on the node. sshd hands it to a shell, so every word is quoted."""
        command = [*self._ssh(), shlex.join(words)]
        try:
            done = subprocess.run(
                command,
                input=stdin if source is None else None,
                stdin=source if source is not None else None if stdin else subprocess.DEVNULL,
                capture_output=True,
                timeout=TRANSFER_S if source else CALL_S,
                check=False,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired as error:
            raise Unclear(f"{self._node.name} did not answer in {error.timeout:.0f} s") from None
        except FileNotFoundError:
            raise Denied("there is no ssh on this machine", hint="Install OpenSSH.") from None
        if done.returncode != 0:
            self._fail(done.returncode, done.stderr.decode("utf-8", "replace").strip())
        return done.stdout

    def _fail(self, code: int, said: str) -> None:
        where, last = f"node {self._node.name}", said.splitlines()[-1] if said else f"exit {code}"
        lowered = said.lower()
        if code == 127:
            raise Denied("there is no python3 on the node", where=where, hint="3.8 or later.")
        if code != _UNREACHABLE:
            raise Denied(f"the guest program failed: {last}", where=where)
        if "host key" in lowered or "remote host identification" in lowered:
            raise Denied(
                f"its host key is not the one that is pinned: {last}",
                where=where,
                hint="Compare with the node's own /etc/ssh/ssh_host_*_key.pub, then set host_key "
                "in the nodes file. Keys are never accepted on first sight.",
            )
        if "permission denied" in lowered or "identity file" in lowered:
            raise Denied(f"it does not let you in: {last}", where=where, hint="Check user and key.")
        raise Unclear(f"not reachable: {last}", where=where)

    def _ssh(self) -> list[str]:
        node = self._node
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UpdateHostKeys": "no",
            "ConnectTimeout": str(CONNECT_S),
            "ServerAliveInterval": "5",
            "ServerAliveCountMax": "3",
            "ControlMaster": "auto",
            "ControlPersist": str(LINGER_S),
            "ControlPath": str(_sockets(self._home) / "%C"),
            "LogLevel": "ERROR",
        }
        known = self._known_hosts()
        if known is not None:
            options |= {"UserKnownHostsFile": str(known), "GlobalKnownHostsFile": "/dev/null"}
        if node.identity_file is not None:
            options |= {"IdentityFile": str(node.identity_file), "IdentitiesOnly": "yes"}
        command = ["ssh", "-T", "-p", str(node.port)]
        if node.user is not None:
            command += ["-l", node.user]
        for name, value in options.items():
            command += ["-o", f"{name}={value}"]
        return [*command, "--", node.host]

    def _known_hosts(self) -> Path | None:
        """A file that knows this host by this key only; None leaves it to the user's own."""
        node = self._node
        if node.host_key is None:
            return Path(node.known_hosts) if node.known_hosts else None
        name = node.host if node.port == 22 else f"[{node.host}]:{node.port}"
        path = _kept_in(self._home) / f"{_file_name(node.name)}.known_hosts"
        line = f"{name} {node.host_key}\n"
        if not path.exists() or path.read_text(encoding="utf-8") != line:
            files.write(str(path.parent), path.name, line)
        return path


def _kept_in(home: Path) -> Path:
    folder = home / "ssh"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _box(token: str) -> str:
    return f"{ROOT}/machines/{token}"


@cache
def _program_name() -> str:
    return f"{ROOT}/guest-{hashlib.sha256(guest_program()).hexdigest()[:16]}.pyz"


def _file_name(name: str) -> str:
    """A node's name, safe as a file name."""
    safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:40]
    return f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


@cache
def _sockets(home: Path) -> Path:
    """A short folder of our own: a socket's path may have some hundred bytes only."""
    digest = hashlib.sha256(str(home).encode()).hexdigest()[:8]
    folder = Path(tempfile.gettempdir()) / f"mlb-{os.getuid()}-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise Denied(f"{folder} belongs to somebody else", hint="Remove it.")
    return folder
