"""How nodes are reached, and which one an attempt is on: remembered below the state folder.

The nodes file may change, or be gone, while a run computes: an attempt stays where it was made.
"""

import hashlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from mlbroker.broker.clouds.interface import Denied
from mlbroker.broker.files.nodes import Node, load_nodes, nodes_file
from mlbroker.broker.guest import box as files
from mlbroker.broker.home import private_folder

_NODE, _ATTEMPT = ".node.json", ".attempt.json"


@dataclass(frozen=True, slots=True)
class Reach:
    """How a node is reached, and how many jobs of which size it takes at a time.

    `port` None leaves it to OpenSSH's own configuration.
    """

    name: str
    host: str
    port: int | None
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

    @property
    def place(self) -> tuple[str, int | None, str | None, str | None]:
        """Which machine it is, and whose files there; what opens it may change."""
        return self.host, self.port, self.user, self.host_key


class Memory:
    """What is known of nodes, and which of them each open attempt is on."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def folder(self) -> Path:
        """Where it is kept."""
        folder = self._home / "ssh"
        private_folder(str(folder))
        return folder

    def described(self, name: str) -> Reach | None:
        """The node as the user's nodes file has it now."""
        path = nodes_file(self._home)
        nodes = load_nodes(path) if path is not None else []
        return next((Reach.of(n) for n in nodes if n.name == name and n.host is not None), None)

    def node(self, name: str) -> Reach:
        """The node as it is described, or as it last was."""
        found = self.described(name) or self._read(file_name(name) + _NODE)
        if found is None:
            path = nodes_file(self._home)
            raise Denied(f"no node {name!r} with a host in {path or 'any nodes file'}")
        return found

    def attempt(self, token: str) -> Reach | None:
        """The node that this attempt was made on, as it was reached then."""
        return self._read(token + _ATTEMPT)

    def keep(self, node: Reach, token: str) -> None:
        """This attempt is about to be made on this node."""
        for name in (file_name(node.name) + _NODE, token + _ATTEMPT):
            files.write_json(str(self.folder()), name, asdict(node))

    def forget(self, token: str) -> None:
        """Nothing of this attempt is left to be looked for."""
        (self.folder() / (token + _ATTEMPT)).unlink(missing_ok=True)

    def used(self) -> list[str]:
        """The names of the nodes that were ever used from this state folder."""
        found = map(self._read, self._names("*" + _NODE))
        return [node.name for node in found if node is not None]

    def open_attempts(self) -> list[str]:
        """The tokens of the attempts that are remembered."""
        return [name.removesuffix(_ATTEMPT) for name in self._names("*" + _ATTEMPT)]

    def _names(self, pattern: str) -> list[str]:
        return sorted(path.name for path in (self._home / "ssh").glob(pattern))

    def _read(self, name: str) -> Reach | None:
        raw = files.read_json(str(self._home / "ssh"), name)
        if raw is None or not {field.name for field in fields(Reach)} <= raw.keys():
            return None
        return Reach(**{field.name: raw[field.name] for field in fields(Reach)})


def file_name(name: str) -> str:
    """A node's name, safe as a file name."""
    safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:40]
    return f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
