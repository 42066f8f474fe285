"""The strict cluster under the conformance suite, in virtual time with scripted containers."""

import atexit
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import pytest
from tests.support.kubernetes.server import (
    NAMESPACE,
    StrictKubernetes,
    kubeconfig,
    nodes_yaml,
    serving,
)
from tests.support.loopback_guests import Script
from tests.support.strict_harness import StrictHarness

from mlbroker.broker.clouds.interface import Payload
from mlbroker.broker.clouds.kubernetes.cloud import KubernetesCloud
from mlbroker.broker.files.nodes import ON_PREM


@cache
def _world() -> StrictKubernetes:
    keeping = ExitStack()
    # Before the interpreter stops its threads: a server without its thread never ends.
    atexit.register(keeping.close)
    return keeping.enter_context(serving(frozen=True))


class KubernetesHarness(StrictHarness):
    name = "kubernetes"
    region = ON_PREM
    kind = "lab"
    make = "create jobs"

    def __init__(self, world: StrictKubernetes, home: Path) -> None:
        super().__init__(world, lambda: KubernetesCloud(home))
        self.spared = {"hidden": "a read of the API server sees every write before it"}
        self.spared["quota"] = "a namespace's quota has room again when others are done"
        self._strangers = 0

    def payload(self, seconds: float, code: int = 0) -> Payload:
        guest = self.world.guest
        assert isinstance(guest, Script)
        guest.job_s, guest.code = seconds, code
        return Payload({"command": "true"})

    def stranger(self) -> str:
        self._strangers += 1
        name = f"nightly-{self._strangers}"
        container = {"name": "main", "image": "python:3.12-slim", "command": ["/guest.pyz"]}
        pod = {"restartPolicy": "Never", "containers": [container]}
        labels = {"app": "nightly"}
        body = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "labels": labels},
            "spec": {"suspend": True, "template": {"metadata": {"labels": labels}, "spec": pod}},
        }
        self.world.cluster.store.create("jobs", NAMESPACE, body)
        return f"lab/{name}"

    def stranger_lives(self, machine_id: str) -> bool:
        jobs = self.world.cluster.store.all("jobs", NAMESPACE)
        return machine_id.partition("/")[2] in {job["metadata"]["name"] for job in jobs}

    def fail_deletes(self, times: int) -> None:
        self.world.cluster.deletes_stall = times

    def run_out_of(self, what: str) -> None:
        self.world.job_quota = 0


@contextmanager
def open_harness(folder: Path) -> Iterator[KubernetesHarness]:
    world = _world()
    home = folder / "home"
    home.mkdir(parents=True, mode=0o700)
    world.calm()
    (home / "nodes.yaml").write_text(nodes_yaml(world))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(kubeconfig(world, folder)))
        patch.delenv("MLBROKER_NODES", raising=False)
        yield KubernetesHarness(world, home)
