"""Nodes of the nodes file: each is asked through the guest program, which is sent there once.

Nothing but fixed words and checked tokens is ever part of a remote command line; what a job says
travels as files and on standard input.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

from mlbroker.broker.clouds.arriving import Arriving
from mlbroker.broker.clouds.guest_report import ANSWER_BYTES, box_of, document
from mlbroker.broker.clouds.interface import Cloud, Intent, Traits
from mlbroker.broker.clouds.on_prem import BoxCloud, Host
from mlbroker.broker.clouds.ssh.reach import Memory, Reach, file_name
from mlbroker.broker.clouds.ssh.remote import call
from mlbroker.broker.errors import CloudError, MlbrokerError
from mlbroker.broker.guest.bundle import guest_program

ROOT = ".mlbroker"


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
        self._memory = Memory(home)
        self._open: dict[Reach, _SshHost] = {}
        self._found: dict[str, Reach] = {}

    def arm_kill(self, intent: Intent) -> None:
        """Keep how the node is reached: a later process may have another nodes file, or none."""
        self._memory.keep(self._memory.node(intent.instance_type), intent.token)

    def host(self, name: str) -> Host:
        """The node of this name."""
        return self._opened(self._memory.node(name))

    def host_of(self, name: str, token: str) -> Host:
        """The node that this attempt is on, whatever bears its name now."""
        kept = self._memory.attempt(token)
        return self.host(name) if kept is None else self._opened(self._place_of(kept, token))

    def hosts(self, token: str | None) -> Sequence[tuple[str, Host]]:
        """The nodes that were ever used from this state folder, or the one of an attempt."""
        kept = None if token is None else self._memory.attempt(token)
        if token is not None and kept is not None:
            return [(kept.name, self._opened(self._place_of(kept, token)))]
        nodes = {node.place: node for node in map(self._memory.node, self._memory.used())}
        for open_token in self._memory.open_attempts():
            kept = self._memory.attempt(open_token)
            if kept is not None:
                node = self._place_of(kept, open_token)
                nodes.setdefault(node.place, node)
        return [(node.name, self._opened(node)) for node in nodes.values()]

    def discard(self, intent: Intent) -> None:
        """Remove the box's bulk, and let go of where it was."""
        super().discard(intent)
        self._memory.forget(intent.token)

    def _place_of(self, kept: Reach, token: str) -> Reach:
        if token not in self._found:
            self._found[token] = self._where_it_is(kept, token)
        return self._found[token]

    def _where_it_is(self, kept: Reach, token: str) -> Reach:
        """Where it was made, unless the node has moved: then its box is at the new address."""
        try:
            now = self._memory.described(kept.name)
        except MlbrokerError:
            return kept
        if now is None or now.place == kept.place:
            return now or kept
        if self._knows(kept, token) or not self._knows(now, token):
            return kept
        return now

    def _knows(self, node: Reach, token: str) -> bool:
        """Whether the attempt's box is there, and either lives or left a true end."""
        try:
            seen = box_of(self._opened(node).ask("show", token))
        except CloudError:
            return False
        if seen is None or seen.state == "none":
            return False
        end = seen.report.end
        return seen.state == "alive" or (end is not None and end.elapsed_s is not None)

    def _opened(self, node: Reach) -> "_SshHost":
        if node not in self._open:
            self._open[node] = _SshHost(node, self._memory.folder())
        return self._open[node]


def open_cloud(home: Path) -> Cloud:
    """This state folder's."""
    return SshCloud(home)


class _SshHost:
    """One node. The guest program is sent once for each of its versions."""

    def __init__(self, node: Reach, kept: Path) -> None:
        self._node = node
        self._kept = kept
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
        self._guest("get", _box(token), name, sink=into)

    def listing(self) -> Mapping[str, object]:
        return self._answer("list", f"{ROOT}/machines")

    def places(self) -> int | None:
        return self._node.count

    def room(self, places: int) -> bool:
        words = self._slots(), str(self._node.count), str(places)
        return bool(self._answer("room", *words).get("room"))

    def extras(self, intent: Intent) -> Mapping[str, Any]:
        return {
            "slots": {
                "root": "~/" + self._slots(),
                "count": self._node.count,
                "vcpus": self._node.vcpus,
                "gpus": self._node.gpus,
                "take": intent.places,
            }
        }

    def _slots(self) -> str:
        return f"{ROOT}/slots/{file_name(self._node.name)}"

    def _answer(self, *words: str, stdin: bytes | None = None) -> Mapping[str, object]:
        return document(self._guest(*words, stdin=stdin), ANSWER_BYTES)

    def _guest(
        self,
        *words: str,
        stdin: bytes | None = None,
        source: IO[bytes] | None = None,
        sink: Arriving | None = None,
    ) -> bytes:
        """The guest program's answer to one action."""
        self._send_program()
        line = ["python3", "-I", "-S", _program_name(), *words]
        return self._remote(line, stdin=stdin, source=source, sink=sink)

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
        sink: Arriving | None = None,
    ) -> bytes:
        return call(self._node, self._kept, words, stdin=stdin, source=source, sink=sink)


def _box(token: str) -> str:
    return f"{ROOT}/machines/{token}"


@cache
def _program_name() -> str:
    return f"{ROOT}/guest-{hashlib.sha256(guest_program()).hexdigest()[:16]}.pyz"
