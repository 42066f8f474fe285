"""Own machines whose jobs lie: any kind of file in the box, and any answer of a node."""

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import IO, Any

from tests.support.hostile_archives import Surroundings, hostile_archive
from tests.support.hostile_guests import END, STATUS, hostile_log
from tests.support.mutations import hostile_json
from tests.support.sim_runs import BILL
from tests.support.simulator import Service

from mlbroker.broker.clouds.interface import Intent, Machine, MachineState, Payload
from mlbroker.broker.clouds.local import LocalCloud
from mlbroker.broker.clouds.ssh.cloud import SshCloud
from mlbroker.broker.clouds.ssh.reach import Reach
from mlbroker.broker.runs.order import LaunchOption

SHOWN = {
    "state": "over", "tags": {"mlbroker-run": "r1", "mlbroker-token": "mlb-r1-1"},
    "started_at": "2026-11-24T12:00:00+00:00", "status": STATUS, "end": END, "log_bytes": 8,
    "checkpoint_bytes": 100, "outputs_bytes": 100,
}  # fmt: skip


def own_machines(cloud: str) -> tuple[LaunchOption, ...]:
    """Three places of this cloud."""
    return tuple(
        LaunchOption(cloud, "on-prem", name, "on_demand", BILL) for name in ("a", "b", "c")
    )


class HostileBoxes(LocalCloud):
    """This machine; in place of a job that runs, a box as a hostile job may leave it.

    Its supervisor, the lock on `alive`, stands for as long as `looks` last, nobody asks it to stop
    and the kill time is ahead.
    """

    def __init__(self, home: Path, service: Service, around: Surroundings, chance: Random) -> None:
        super().__init__(home)
        self._boxes = home / "machines"
        self._service = service
        self._around = around
        self._chance = chance
        self._alive: dict[str, tuple[int, Intent]] = {}
        self._looks = chance.choice((0, 3, 30, 10**6))

    def create(self, intent: Intent, payload: Payload) -> Machine:
        box = self._boxes / intent.token
        box.mkdir(parents=True)
        spec = {
            "token": intent.token,
            "tags": dict(intent.tags),
            "started_at": self._service.now().isoformat(),
            "lifetime_s": 100.0,
        }
        (box / "alive").write_text("started\n")
        (box / "spec.json").write_text(json.dumps(spec))
        if self._chance.random() < 0.8:
            alive = os.open(box / "alive", os.O_RDWR)
            fcntl.flock(alive, fcntl.LOCK_EX)
            self._alive[intent.token] = alive, intent
        self._leave_behind(box, spec)
        id_ = f"{intent.instance_type}/{intent.token}"
        return Machine(id_, MachineState.RUNNING, dict(intent.tags), self._service.now())

    def status(self, machine_id: str) -> Machine | None:
        self._live()
        return super().status(machine_id)

    def find(self, tags: Mapping[str, str]) -> Sequence[Machine]:
        self._live()
        return super().find(tags)

    def alive(self) -> list[str]:
        return list(self._alive)

    def _live(self) -> None:
        self._looks -= 1
        for token, (alive, intent) in list(self._alive.items()):
            asked = os.path.lexists(self._boxes / token / "stop")
            if self._looks < 0 or asked or self._service.now() > intent.kill_at:
                os.close(alive)
                del self._alive[token]

    def _leave_behind(self, box: Path, spec: Mapping[str, Any]) -> None:
        chance, token = self._chance, box.name
        contents = {
            "spec.json": hostile_json(chance, spec),
            "status.json": hostile_json(chance, STATUS),
            "end.json": hostile_json(chance, END),
            "log": hostile_log(chance),
            "outputs.tar": hostile_archive(chance, self._around),
            "checkpoint.tar": hostile_archive(chance, self._around),
            "guest.log": chance.randbytes(300),
            "work": b"",
            "stop": b"\xff\x00stopped\n" * 5,
            "alive": b"started\nand more",
        }
        for name in chance.sample(list(contents), chance.randint(1, 5)):
            path = box / name
            path.unlink(missing_ok=True)
            if name == "alive" and token in self._alive:
                # Whoever holds the lock of a file that is gone holds nothing.
                os.close(self._alive.pop(token)[0])
            self._lay(path, contents[name])

    def _lay(self, path: Path, content: bytes) -> None:
        """Mostly a file; else what is none, or leads elsewhere, or is very large."""
        what = self._chance.random()
        if what < 0.7:
            path.write_bytes(content)
        elif what < 0.75:
            os.mkfifo(path)
        elif what < 0.8:
            path.mkdir()
            (path / "inner").write_bytes(content[:100])
        elif what < 0.85:
            outside = (self._around.top / "canary", self._around.top / "ssh", "/dev/zero", path)
            path.symlink_to(self._chance.choice(outside))
        elif what < 0.9:
            # Larger than memory where nobody has to read it whole, and yet it takes no room.
            path.touch()
            os.truncate(path, 1 << (40 if path.suffix == ".json" else 26))
        elif what < 0.95:
            path.write_bytes(content)
            path.chmod(0)
        else:
            with suppress(OSError):
                os.mknod(path, 0o600 | 0o140000)  # a socket that nobody listens on


class LyingNode:
    """A node of which the job has taken the guest program: every answer is the job's."""

    def __init__(self, host: Any, around: Surroundings, chance: Random) -> None:
        self._around = around
        self._chance = chance
        self._host = host
        host._remote = self._remote
        self._honest = chance.choice((0.0, 0.5, 0.9))

    def _remote(
        self,
        words: Sequence[str],
        *,
        stdin: bytes | None = None,
        source: IO[bytes] | None = None,
        sink: IO[bytes] | None = None,
        at_most: int = 0,
    ) -> bytes:
        answer = self._answer(list(words))
        if sink is not None:
            sink.write(answer)
            return b""
        return answer

    def _answer(self, words: list[str]) -> bytes:
        chance = self._chance
        action = words[4] if words[0] == "python3" else words[0]
        if action == "read":
            return hostile_log(chance)
        if action == "get":
            return hostile_archive(chance, self._around)
        answers: dict[str, Any] = {
            "start": {"started": "yes"},
            "show": SHOWN | {"state": chance.choice(("alive", "over"))},
            "list": {"boxes": {"mlb-r1-1": SHOWN, "mlb-r1-2": SHOWN}},
            "room": {"room": True},
            "end": {"ended": True},
            "prevent": {"prevented": True},
        }
        valid = answers.get(action, {})
        if action in ("start", "room", "sh", "put"):
            return json.dumps(valid).encode() if action != "sh" else b"yes"
        if chance.random() < self._honest:
            return json.dumps(valid).encode()
        return hostile_json(chance, valid)


class LyingNodes(SshCloud):
    """Own machines over SSH that answer anything."""

    def __init__(self, home: Path, around: Surroundings, chance: Random) -> None:
        super().__init__(home)
        self._around = around
        self._chance = chance
        node = {
            "host": "192.0.2.1",
            "host_key": "ssh-ed25519 AAAA",
            "hardware": {"vcpus": 2, "memory_gib": 4},
            "price_per_hour_usd": 36,
        }
        nodes = [{"name": name, **node} for name in ("a", "b", "c")]
        (home / "nodes.yaml").write_text(json.dumps({"nodes": nodes}))

    def _opened(self, node: Reach) -> Any:
        new = node not in self._open
        host = super()._opened(node)
        if new:
            LyingNode(host, self._around, self._chance)
        return host
