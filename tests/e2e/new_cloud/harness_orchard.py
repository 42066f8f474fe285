"""Orchard on the loopback, and under the conformance suite."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.faults import Faults
from tests.support.gcp.bucket import Storage
from tests.support.loopback import KeepAlive
from tests.support.loopback_http import Answer, Environ, TokenRequest
from tests.support.strict import StrictCloud, served
from tests.support.strict_harness import StrictHarness

import mlbroker.broker.clouds.orchard.cloud as orchard

KIND = "pear"
SHUTDOWN_S = 20.0


@dataclass
class Tree:
    """One machine."""

    id: str
    order: dict[str, Any]
    began_at: datetime
    ends_at: datetime | None = None
    gone_at: datetime | None = None
    notice_at: datetime | None = None

    @property
    def token(self) -> str:
        return str(self.order["token"])

    @property
    def user_data(self) -> str:
        return str(self.order["script"])

    @property
    def works(self) -> bool:
        return self.ends_at is None


class OrchardFaults(Faults):
    def no(self, request: Any, *error: Any) -> Answer:
        return answered({"code": error[0], "message": "no"}, "409 Conflict")

    def failed(self, request: Any) -> Answer:
        return answered({"code": "broken"}, "503 Service Unavailable")

    def too_many(self, request: Any) -> Answer:
        return answered({"code": "slower"}, "429 Too Many Requests")


@dataclass
class Machines:
    """Those that there are, and how long a new one is in no listing."""

    hidden_s: float = 0.0


@dataclass
class Control:
    machines: Machines = field(default_factory=Machines)


class StrictOrchard(StrictCloud):
    """Its machines live in `trees`."""

    def __init__(self, frozen: bool = False) -> None:
        super().__init__(frozen)
        self.faults = OrchardFaults()
        self.control = Control()
        self.storage = Storage()
        self.storage.buckets[orchard.BUCKET] = {}
        self.trees: list[Tree] = []

    def sell_all(self) -> None:
        """One kind is all there is."""

    def sell_out(self, what: str) -> None:
        self.faults.errors["create"] = ("sold_out",)

    def machines(self) -> Iterable[Tree]:
        return list(self.trees)

    def living(self) -> Iterable[Tree]:
        return [tree for tree in self.trees if tree.gone_at is None]

    def stored(self) -> list[str]:
        return list(self.storage.buckets[orchard.BUCKET])

    def secrets(self) -> list[str]:
        return []

    def ended_by(self, vm: Tree) -> list[str]:
        return []

    def get_object(self, vm: Tree, name: str) -> bytes | None:
        return self.storage.buckets[orchard.BUCKET].get(f"runs/{vm.token}/{name}")

    def put_object(self, vm: Tree, name: str, data: bytes) -> None:
        self.storage.buckets[orchard.BUCKET][f"runs/{vm.token}/{name}"] = data

    def delete_itself(self, vm: Tree) -> None:
        self.fell(vm)

    def power_off(self, vm: Tree) -> None:
        self.fell(vm)

    def fell(self, tree: Tree) -> None:
        """It takes a while."""
        if tree.ends_at is None:
            tree.ends_at = self.clock.now()
            self.ended(tree)
            self.clock.after(SHUTDOWN_S, lambda: self._gone(tree))

    def _gone(self, tree: Tree) -> None:
        tree.gone_at = self.clock.now()

    def read(self, environ: Environ) -> TokenRequest:
        return TokenRequest.read(environ)

    def prepare(self, request: TokenRequest) -> None:
        words = {"POST": "create", "DELETE": "terminate"}
        request.action = words.get(request.method, "look")
        if not request.path.startswith(("/machines", "/regions")):
            request.service, request.action = "storage", Storage.action(request)

    def refused(self, request: TokenRequest) -> Answer | None:
        return None if request.who else answered({"code": "stranger"}, "401 Unauthorized")

    def paid_as(self, request: TokenRequest) -> str | None:
        """Whoever has an orchard's machines has its bucket."""
        return None

    def answer(self, request: TokenRequest) -> Answer:
        if request.service == "storage":
            return self.storage.answer(request, page=1000)
        if request.path == "/regions":
            return answered({"regions": ["hill"]})
        if request.path.startswith("/regions/"):
            here = request.path == "/regions/hill" and request.query["kind"] == KIND
            return answered({"zones": ["hill-1", "hill-2"] if here else []})
        if request.path == "/machines":
            return self._made(request) if request.method == "POST" else self._listed(request)
        tree = next((t for t in self._shown() if t.id == request.path.rpartition("/")[2]), None)
        if tree is None:
            return answered({"code": "unknown"}, "404 Not Found")
        if request.method == "DELETE" and not self.faults.take("late_deletes"):
            self.fell(tree)
        return answered(self._told(tree))

    def _made(self, request: TokenRequest) -> Answer:
        order = json.loads(request.body)
        known = next((t for t in self.trees if t.token == order["token"]), None)
        tree = known or Tree(order["token"], order, self.clock.now())
        if known is None:
            self.trees.append(tree)
            self.clock.at(datetime.fromisoformat(order["ends_by"]), lambda: self.fell(tree))
            self.started(tree)
        return answered(self._told(tree))

    def _listed(self, request: TokenRequest) -> Answer:
        wanted = request.query.items()
        found = [tree for tree in self._shown() if wanted <= tree.order["tags"].items()]
        return answered({"machines": [self._told(tree) for tree in found]})

    def _shown(self) -> list[Tree]:
        hidden = timedelta(seconds=self.control.machines.hidden_s)
        return [tree for tree in self.trees if tree.began_at + hidden <= self.clock.now()]

    def _told(self, tree: Tree) -> dict[str, Any]:
        ending = "terminated" if tree.gone_at else "terminating"
        return {
            "name": tree.id,
            "zone": tree.order["zone"],
            "tags": tree.order["tags"],
            "state": "running" if tree.works else ending,
            "began_at": tree.began_at.isoformat(),
            "ended_at": tree.gone_at.isoformat() if tree.gone_at else None,
        }

    def metadata_of(self, vm: Tree, what: str, request: TokenRequest) -> Answer:
        known = {"token": f"guest-{vm.id}", "address": "127.0.0.1"}
        return Answer("200 OK", [], known[what].encode())


def answered(document: object, status: str = "200 OK") -> Answer:
    return Answer(status, [("Content-Type", "application/json")], json.dumps(document).encode())


class OrchardHarness(StrictHarness):
    name = "orchard"
    region = "hill"
    kind = KIND
    make = "create"

    def stranger(self) -> str:
        order = {"token": "database", "zone": "hill-1", "tags": {"name": "database"}}
        self.world.trees.append(Tree("database", order, self.now()))
        return "hill-1/database"

    def stranger_lives(self, machine_id: str) -> bool:
        return any(f"hill-1/{tree.id}" == machine_id for tree in self.world.living())

    def run_out_of(self, what: str) -> None:
        code = "sold_out" if what == "capacity" else "over_quota"
        self.world.faults.errors["create"] = (code,)


@contextmanager
def open_harness(folder: Path) -> Iterator[OrchardHarness]:
    world = StrictOrchard(frozen=True)
    with (
        served(world, world.living, KeepAlive, None, frozen=True, port=0),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("MLBROKER_ORCHARD_URL", world.url)
        yield OrchardHarness(world, orchard.OrchardCloud)
