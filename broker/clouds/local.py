"""This machine: a run is a detached watchdog and supervisor, in sessions of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import copyfile
from typing import Any

from mlbroker.broker.clouds.arriving import Arriving
from mlbroker.broker.clouds.guest_report import document
from mlbroker.broker.clouds.interface import Cloud, Denied, Intent, Traits, Unclear
from mlbroker.broker.clouds.on_prem import BoxCloud, Host
from mlbroker.broker.files.nodes import load_nodes, nodes_file
from mlbroker.broker.guest.bundle import guest_program
from mlbroker.broker.guest.main import answer, get, part
from mlbroker.broker.home import TEAM_LEDGER, private_folder
from mlbroker.broker.team import pinned

_START_TIMEOUT_S = 60
_PROGRAM = "guest.pyz"


class LocalCloud(BoxCloud):
    """Boxes are folders below `home/machines`. All names mean this machine."""

    traits = Traits(
        kill_slack_s=2.0,
        visible_after_s=0.0,
        poll_s=0.1,
        layers=("the supervisor of the job", "a watchdog process that watches the supervisor"),
        queues=True,
    )

    def __init__(self, home: Path) -> None:
        self._home = home

    def host(self, name: str) -> Host:
        """This machine, with as many places as its node in the nodes file has."""
        return _ThisMachine(self._home, name)

    def host_of(self, name: str, token: str) -> Host:
        """This machine too."""
        return self.host(name)

    def hosts(self, token: str | None) -> Sequence[tuple[str, Host]]:
        """Boxes of every node that is this machine lie together."""
        return [("local", self.host("local"))]


def open_cloud(home: Path) -> Cloud:
    """This state folder's."""
    return LocalCloud(home)


class _ThisMachine:
    """Calls the guest's own functions; only a start needs a process."""

    def __init__(self, home: Path, name: str) -> None:
        self._home = home
        self._name = name
        self._machines = home / "machines"

    def ask(self, action: str, token: str, *rest: str) -> Mapping[str, object]:
        try:
            return answer(action, str(self._machines / token), list(rest))
        except OSError as error:
            raise Unclear(f"the job's box cannot be used now: {error}") from error

    def start(
        self, token: str, spec: Mapping[str, Any], secrets: Mapping[str, str]
    ) -> Mapping[str, object]:
        box = self._machines / token
        try:
            private_folder(str(box))
            (box / _PROGRAM).write_bytes(guest_program())
        except OSError as error:
            raise Denied(f"cannot lay out the job's box: {error}") from error
        # Secrets go through a pipe: arguments and files can be read by others.
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(box / _PROGRAM), "start", str(box)],
            input=json.dumps({"spec": dict(spec), "secrets": dict(secrets)}),
            capture_output=True,
            text=True,
            timeout=_START_TIMEOUT_S,
            check=False,
            start_new_session=True,
        )
        if done.returncode != 0:
            raise Denied(f"the supervisor did not start: {done.stderr.strip()[-300:]}")
        return document(done.stdout.encode())

    def put(self, token: str, name: str, source: Path) -> None:
        box = self._machines / token
        private_folder(str(box))
        copyfile(source, box / name)

    def read(self, token: str, name: str, offset: int) -> bytes:
        return part(str(self._machines / token), name, offset)

    def get(self, token: str, name: str, into: Arriving) -> None:
        get(str(self._machines / token), name, into)

    def listing(self) -> Mapping[str, object]:
        return answer("list", str(self._machines), [])

    def places(self) -> int | None:
        slots = self._slots()
        return None if slots is None else int(slots["count"])

    def room(self, places: int) -> bool:
        slots = self._slots()
        if slots is None:
            return True
        return bool(answer("room", slots["root"], [str(slots["count"]), str(places)])["room"])

    def extras(self, intent: Intent) -> Mapping[str, Any]:
        extras: dict[str, Any] = {"afterwards": self._afterwards(intent.run_id)}
        slots = self._slots()
        return extras if slots is None else extras | {"slots": {**slots, "take": intent.places}}

    def _slots(self) -> dict[str, Any] | None:
        """Only a node of the nodes file says how many jobs it takes."""
        path = nodes_file(self._home)
        nodes = load_nodes(path) if path is not None else []
        node = next((n for n in nodes if n.name == self._name and n.here), None)
        if node is None:
            return None
        return {
            "root": str(self._home / "slots" / node.name),
            "count": node.count,
            "vcpus": node.hardware.vcpus,
            "gpus": int(node.hardware.gpu_count),
        }

    def _afterwards(self, run_id: str) -> dict[str, Any]:
        keep = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")
        environment = {name: os.environ[name] for name in keep if name in os.environ}
        # As RunFolder calls them, which clouds need not know.
        folder = self._home / "runs" / run_id
        return {
            "lock": str(folder / "lock"),
            "complaints": str(folder / "carrier.log"),
            "argv": [sys.executable, "-m", "mlbroker.broker.runs.background", run_id],
            "inherit": [
                name for name in os.environ if name == TEAM_LEDGER or name.startswith("PG")
            ],
            "env": {**environment, **pinned(), "MLBROKER_HOME": str(self._home)},
        }
