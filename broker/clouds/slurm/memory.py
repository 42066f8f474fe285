"""What is remembered below the state folder: where an attempt's box is, and what a cluster is like.

The nodes file may change, or be gone, while a job waits or computes; a controller may be down.
"""

from dataclasses import dataclass
from pathlib import Path

from mlbroker.broker.clouds.interface import Denied
from mlbroker.broker.files.node_slurm import SlurmPlace
from mlbroker.broker.files.nodes import Node, load_nodes, nodes_file
from mlbroker.broker.guest import box as files
from mlbroker.broker.home import private_folder

_SITE = "site.json"


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one state folder."""

    home: Path

    def node(self, name: str) -> tuple[Node, SlurmPlace]:
        """The place as the nodes file has it now; Denied where it has none."""
        path = nodes_file(self.home)
        nodes = load_nodes(path) if path is not None else []
        for node in nodes:
            if node.name == name and node.slurm is not None:
                return node, node.slurm
        raise Denied(f"no node {name!r} with slurm in {path or 'any nodes file'}")

    def partitions(self) -> set[str | None]:
        """Those that the nodes file's places are in now; None is the cluster's default."""
        path = nodes_file(self.home)
        nodes = load_nodes(path) if path is not None else []
        return {node.slurm.partition for node in nodes if node.slurm is not None}

    def keep(self, token: str, place: SlurmPlace) -> None:
        """This attempt is about to be made there."""
        files.write_json(str(self._folder()), f"{token}.json", {"boxes": str(self._boxes(place))})

    def forget(self, token: str) -> None:
        """Nothing of this attempt is left to be looked for."""
        (self.home / "slurm" / f"{token}.json").unlink(missing_ok=True)

    def box(self, token: str) -> Path:
        """The folder of an attempt."""
        told = files.read_json(str(self.home / "slurm"), f"{token}.json") or {}
        return Path(str(told.get("boxes") or self._boxes(SlurmPlace()))) / token

    def slack_s(self) -> float | None:
        """How long after its limit a job may last there, as it was when it was last asked."""
        told = (files.read_json(str(self.home / "slurm"), _SITE) or {}).get("slack_s")
        return float(told) if isinstance(told, (int, float)) else None

    def keep_slack(self, seconds: float) -> None:
        """For processes that find no controller."""
        if seconds != self.slack_s():
            files.write_json(str(self._folder()), _SITE, {"slack_s": seconds})

    def _boxes(self, place: SlurmPlace) -> Path:
        return place.folder or self.home / "slurm" / "boxes"

    def _folder(self) -> Path:
        folder = self.home / "slurm"
        private_folder(str(folder))
        return folder
