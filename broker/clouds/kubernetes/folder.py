"""An attempt's folder in the volume, as this machine has it mounted; the pod sees no other."""

import os
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from mlbroker.broker.clouds.bucket import BucketBox, run_folder
from mlbroker.broker.clouds.interface import Denied, Intent, Payload
from mlbroker.broker.clouds.kubernetes.guest import BEGAN, OVER
from mlbroker.broker.clouds.kubernetes.places import Place
from mlbroker.broker.guest import box as files
from mlbroker.broker.home import private_folder

# Files in a volume cost nothing to look at.
_PACE = {"writes": (1.0, 2.0, 30), "heeds": (0.5, 1.0, 30)}


def mounted(place: Place) -> Path:
    """Where the place's volume is; Denied where it is not."""
    folder = Path(place.cluster.folder)
    if not folder.is_dir():
        raise Denied(
            f"there is no folder {folder}, where the volume {place.cluster.claim} is mounted",
            where=f"node {place.name}",
            hint="Job and results travel through it: mount it here, or set mounted_at.",
        )
    return folder


class Folder:
    """What both sides leave there for each other."""

    def __init__(self, place: Place, token: str) -> None:
        self._root = mounted(place)
        self._name = run_folder(token)
        self._path = self._root / self._name

    @property
    def box(self) -> BucketBox:
        """Read and written as a bucket is."""
        from obstore.store import LocalStore

        return BucketBox(LocalStore(self._root), str(self._root), self._name)

    def lay_out(self, intent: Intent, payload: Payload, program: bytes) -> None:
        """Put everything there that the pod needs."""
        spec = {
            **payload.spec,
            "token": intent.token,
            "kill_at": intent.kill_at.timestamp() + intent.guest_late_s,
            "nodes": 1,
            "pace": _PACE,
            "secret_names": sorted(payload.secrets),
            "secrets_at": "",
            "workdir": None,
            "afterwards": None,
        }
        if not self._path.parent.exists():
            private_folder(str(self._path.parent))
            # The node's kubelet has to pass, as nobody where the server knows no root.
            self._path.parent.chmod(0o711)
        for name in ("log", files.OUTPUTS_TAR):
            # For its owner alone. What the pod makes only whoever it runs as could empty.
            private_folder(str(self._path / "0" / name))
        given = {files.BUNDLE: payload.bundle, files.RESTORE: payload.restore}
        self.box.send(spec, program, given)

    def call_off(self) -> None:
        """A pod that starts from now on finds that it is not to run."""
        private_folder(str(self._path))
        files.write(str(self._path), OVER, "")

    @property
    def is_over(self) -> bool:
        """Whether it was called off."""
        return (self._path / OVER).exists()

    @property
    def has_begun(self) -> bool:
        """Whether a pod of it ever ran."""
        # Asked for by name, a network's file system may remember for a while that it is not there.
        try:
            return BEGAN in os.listdir(self._path / "0")
        except FileNotFoundError:
            return False

    @property
    def began_at(self) -> datetime | None:
        """When it ran first, by the pod's word; None when it never did."""
        text = files.read(str(self._path / "0"), BEGAN)
        try:
            return None if text is None else datetime.fromtimestamp(float(text), UTC)
        except (ValueError, OverflowError, OSError):
            return None

    def remove(self) -> None:
        """All of it."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self._path)
