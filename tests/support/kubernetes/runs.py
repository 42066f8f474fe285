"""Runs on the strict cluster."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from tests.support.cloud_runs import PRICE, CloudRuns, Life
from tests.support.kubernetes.server import StrictKubernetes, nodes_yaml
from tests.support.terms import AWS, Terms

from mlbroker.broker.clouds.kubernetes.cloud import KubernetesCloud
from mlbroker.broker.files.nodes import ON_PREM
from mlbroker.broker.ledger import Run
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.region import Region

BILL = Bill.of(Region("kubernetes", ON_PREM), PRICE, 1, 0)


@dataclass
class KubernetesRuns(CloudRuns):
    """One state folder in front of one cluster. What a pod costs is the price of its hour."""

    cloud: Any = None
    candidates: ClassVar = (LaunchOption("kubernetes", ON_PREM, "lab", "on_demand", BILL),)
    cap: ClassVar = "1"
    terms: ClassVar[Terms] = AWS

    def __post_init__(self) -> None:
        super().__post_init__()
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.describe()
        self.cloud = self.cloud or KubernetesCloud(self.home)

    def describe(self, more: str = "", **how: str) -> None:
        """The nodes file."""
        assert isinstance(self.world, StrictKubernetes)
        (self.home / "nodes.yaml").write_text(nodes_yaml(self.world, more, **how))

    def pods(self, run_id: str) -> list[Any]:
        pods = self.world.cluster.pods
        return [p for p in pods if p["metadata"]["labels"].get("mlbroker-run") == run_id]

    def lives(self, run_id: str) -> list[Life]:
        """From a container's start to its end."""
        return [
            Life(
                pod["metadata"]["labels"]["mlbroker-token"],
                datetime.fromisoformat(pod["_began"]),
                datetime.fromisoformat(pod["_ended"]) if "_ended" in pod else None,
            )
            for pod in self.pods(run_id)
            if "_began" in pod
        ]

    def machines_usd(self, run_id: str) -> float:
        spans = ((life.ended_at or self.clock.now()) - life.began_at for life in self.lives(run_id))
        seconds = sum(span.total_seconds() for span in spans)
        # Not above the sum in decimals for want of bits.
        return seconds * float(PRICE) / 3600 * (1 - 1e-12)

    def billed_usd(self, run_id: str) -> float:
        return self.machines_usd(run_id)

    def reserve(self, run_id: str, *more: Any, **named: Any) -> Run:
        self.world.paid = {}
        return super().reserve(run_id, *more, **named)

    def leftovers(self, run_id: str) -> list[str]:
        """What lives, or would start; secrets without a Job; and the attempts' folders."""
        cluster = self.world.cluster
        there = [
            f"{kind} {thing['metadata']['name']}"
            for kind in ("jobs", "pods", "secrets")
            for thing in cluster.store.all(kind)
            if (thing["metadata"].get("labels") or {}).get("mlbroker-run") == run_id
            and not (kind == "jobs" and cluster.finished(thing))
            and thing.get("status", {}).get("phase") not in ("Succeeded", "Failed")
            and not (kind == "secrets" and thing["metadata"].get("ownerReferences"))
        ]
        folders = Path(self.world.volume).glob(f"runs/mlb-{run_id}-*")
        return [*there, *map(str, folders)]
