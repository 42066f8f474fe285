"""The nodes of the loopback cluster: a pod's container as a process here, or a script in its place.

A container's file system is a folder; where the pod mounts something, there is a link. Paths below
a mount are told to the process as they are here, as nobody makes a file system of its own.
"""

import base64
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Protocol

from tests.support.kubernetes.store import Object
from tests.support.loopback_guests import MARK, marked, processes_of

# Images that there are; one of them has no python3.
IMAGES = ("python:3.12-slim", "registry.example/team/train:1")
BARE = "busybox:1.36"


class Kubelet(Protocol):
    def start(self, pod: Object, command: list[str], env: dict[str, str]) -> None: ...

    def exit_code(self, pod: Object) -> int | None: ...

    def ask_to_end(self, pod: Object) -> None: ...

    def kill(self, pod: Object) -> None: ...

    def log(self, pod: Object) -> str: ...

    def close(self) -> None: ...


class Processes:
    """Containers that really run."""

    def __init__(self, volumes: dict[str, Path]) -> None:
        self._volumes = volumes
        self._root = Path(tempfile.mkdtemp(prefix="mlbroker-kubelet-"))
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, pod: Object, command: list[str], env: dict[str, str]) -> None:
        uid = pod["metadata"]["uid"]
        folder = self._root / uid
        root, mounts = folder / "root", []
        for mount in pod["spec"]["containers"][0].get("volumeMounts") or []:
            volume = next(v for v in pod["spec"]["volumes"] if v["name"] == mount["name"])
            source = self._source(folder, volume, pod)
            if mount.get("subPath"):
                source = source / mount["subPath"]
                source.mkdir(parents=True, exist_ok=True)
            at = root / mount["mountPath"].lstrip("/")
            at.parent.mkdir(parents=True, exist_ok=True)
            at.symlink_to(source)
            mounts.append(mount["mountPath"])

        def here(text: str) -> str:
            inside = any(
                text == path or text.startswith(path + "/") or path.startswith(text + "/")
                for path in mounts
            )
            return str(root / text.lstrip("/")) if text.startswith("/mlbroker") and inside else text

        own = {"PATH": os.environ["PATH"], "HOME": str(folder), "HOSTNAME": uid}
        with open(folder / "log", "ab") as log:
            self._running[uid] = subprocess.Popen(
                [here(word) for word in command],
                cwd=folder,
                env={**own, **{k: here(v) for k, v in env.items()}, MARK: marked(uid)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def exit_code(self, pod: Object) -> int | None:
        process = self._running.get(pod["metadata"]["uid"])
        code = None if process is None else process.poll()
        if code is not None:
            # With its first process a container ends as a whole.
            self.kill(pod)
        return code if code is None or code >= 0 else 128 - code

    def ask_to_end(self, pod: Object) -> None:
        process = self._running.get(pod["metadata"]["uid"])
        if process is not None and process.poll() is None:
            process.terminate()

    def kill(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        while found := processes_of(uid):
            for pid in found:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        if uid in self._running:
            self._running[uid].wait()

    def log(self, pod: Object) -> str:
        try:
            return (self._root / pod["metadata"]["uid"] / "log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def close(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)

    def _source(self, folder: Path, volume: Object, pod: Object) -> Path:
        if claim := volume.get("persistentVolumeClaim"):
            return self._volumes[claim["claimName"]]
        own = folder / "volumes" / volume["name"]
        own.mkdir(parents=True, exist_ok=True)
        for name, value in pod["_secrets"].items() if volume.get("secret") else ():
            (own / name).write_bytes(base64.b64decode(value))
        return own


class Scripted:
    """Containers in virtual time: `guest` says what they do (see `loopback_guests.Script`)."""

    def __init__(self) -> None:
        self.guest: Any = None
        self._pods: dict[str, ScriptedPod] = {}

    def start(self, pod: Object, command: list[str], env: dict[str, str]) -> None:
        shared = next(word for word in command if word.endswith("/guest.pyz"))
        own = ScriptedPod(pod["metadata"]["uid"], shared.partition("/shared/")[2])
        self._pods[own.id] = own
        self.guest.start(own)

    def ended(self, vm: Any) -> None:
        """The script's last act."""
        vm.works, vm.code = False, self.guest.code

    def exit_code(self, pod: Object) -> int | None:
        vm = self._pods.get(pod["metadata"]["uid"])
        return None if vm is None else vm.code

    def ask_to_end(self, pod: Object) -> None:
        """It does not listen, and is killed."""

    def kill(self, pod: Object) -> None:
        vm = self._pods.get(pod["metadata"]["uid"])
        if vm is not None and vm.code is None:
            vm.works, vm.code = False, 137

    def log(self, pod: Object) -> str:
        return ""

    def close(self) -> None:
        """Nothing of it lives anywhere."""


class ScriptedPod:
    def __init__(self, id_: str, program: str) -> None:
        self.id = id_
        self.folder = program.rpartition("/")[0]
        self.works = True
        self.notice_at = None
        self.user_data = ""
        self.code: int | None = None
