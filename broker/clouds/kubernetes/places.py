"""The kinds of job places in clusters, and which one an attempt was made for.

The nodes file may change, or be gone, while a run computes: an attempt stays where it was made.
"""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mlbroker.broker.clouds.interface import Denied
from mlbroker.broker.files.clusters import Cluster
from mlbroker.broker.files.nodes import Node, load_nodes, nodes_file
from mlbroker.broker.guest import box as files
from mlbroker.broker.home import private_folder

_PLACE, _ATTEMPT = ".place.json", ".attempt.json"


@dataclass(frozen=True, slots=True)
class Place:
    """One kind of place: the cluster it is in, and what a job there is given."""

    name: str
    cluster: Cluster
    vcpus: float
    memory_gib: float
    gpus: int
    arch: str

    @classmethod
    def of(cls, node: Node) -> "Place":
        """What of a node matters here."""
        assert node.cluster is not None
        hardware = node.hardware
        return cls(
            node.name,
            node.cluster,
            hardware.vcpus,
            hardware.memory_gib,
            int(hardware.gpu_count),
            hardware.arch,
        )


class Places:
    """What is known of them below one state folder."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._folder = home / "kubernetes"

    def described(self) -> list[Place]:
        """Those of the user's nodes file as it is now."""
        path = nodes_file(self._home)
        nodes = load_nodes(path) if path is not None else []
        return [Place.of(node) for node in nodes if node.cluster is not None]

    def named(self, name: str) -> Place:
        """The place as it is described, or as it last was."""
        found = next((p for p in self.described() if p.name == name), None)
        found = found or self._read(name + _PLACE)
        if found is None:
            path = nodes_file(self._home)
            raise Denied(f"no node {name!r} with kubernetes: in {path or 'any nodes file'}")
        return found

    def of_attempt(self, token: str) -> Place | None:
        """The place that this attempt was made for; None where it was none from here."""
        return self._read(token + _ATTEMPT)

    def keep(self, place: Place, token: str) -> None:
        """This attempt is about to be made there."""
        private_folder(str(self._folder))
        for name in (place.name + _PLACE, token + _ATTEMPT):
            files.write_json(str(self._folder), name, asdict(place))

    def forget(self, token: str) -> None:
        """Nothing of this attempt is left to be looked for."""
        (self._folder / (token + _ATTEMPT)).unlink(missing_ok=True)

    def used(self) -> list[Place]:
        """Those that anything was ever made for, and those of attempts that are open."""
        paths = sorted([*self._folder.glob(f"*{_PLACE}"), *self._folder.glob(f"*{_ATTEMPT}")])
        return [place for place in (self._read(path.name) for path in paths) if place is not None]

    def _read(self, name: str) -> Place | None:
        raw = files.read_json(str(self._folder), name)
        try:
            return None if raw is None else _place(raw)
        except (KeyError, TypeError, ValueError):
            return None


def _place(raw: dict[str, Any]) -> Place:
    told = raw["cluster"]
    known = {field.name: told[field.name] for field in fields(Cluster) if field.name in told}
    known["node_selector"] = tuple((str(k), str(v)) for k, v in told["node_selector"])
    values = {field.name: raw[field.name] for field in fields(Place)}
    return Place(**{**values, "cluster": Cluster(**known)})
