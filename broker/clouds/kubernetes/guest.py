"""The pod's side: job and results travel through the volume, which both sides have mounted."""

import os
import shutil
import signal
import sys
import threading
import time
from typing import Any, BinaryIO, Dict, List, Optional

from ...guest import box as files
from ...guest.courier import Courier
from ...guest.vendor import Answer, Vendor
from ...guest.watchdog import is_alive

# Left first of all: the cluster forgets when a pod that is gone has run.
BEGAN = "began"
# Left by the client: this attempt is not to run any more.
OVER = "over"


class Volume(Vendor):
    """The shared folder; keys are paths in it."""

    name = "the volume"

    def __init__(self, root: str, secrets: str) -> None:
        self._root = root
        self._secrets = secrets
        self.told_to_go = False

    def address(self) -> str:
        """Not told: a run has one pod."""
        return ""

    def rank(self) -> int:
        """The only one."""
        return 0

    def interruption(self) -> Optional[str]:
        """The cluster asked the pod to end: its place is taken away."""
        return "SIGTERM" if self.told_to_go else None

    def put(self, key: str, data: bytes) -> None:
        """Written beside, then moved: readers see the whole or nothing."""
        path, part = self._at(key), self._at(key) + ".part"
        with open(part, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)

    def put_file(self, key: str, path: str) -> None:
        """The same, of a file."""
        target = self._at(key)
        with open(path, "rb") as source, open(target + ".part", "wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
            file.flush()
            os.fsync(file.fileno())
        os.replace(target + ".part", target)

    def secrets(self, path: str) -> Dict[str, str]:
        """As the cluster mounted them: a file for each."""
        found = {}
        for name in os.listdir(self._secrets) if self._secrets else []:
            if not name.startswith(".."):
                with open(os.path.join(self._secrets, name), encoding="utf-8") as file:
                    found[name] = file.read()
        return found

    def forget_secrets(self, path: str, names: List[str]) -> None:
        """They go with the Job."""

    def _read(self, key: str, into: Optional[BinaryIO] = None) -> Answer:
        try:
            with open(os.path.join(self._root, key), "rb") as file:
                if into is None:
                    return Answer(200, {}, file.read())
                shutil.copyfileobj(file, into, 1 << 20)
        except FileNotFoundError:
            return Answer(404, {}, b"")
        return Answer(200, {}, b"")

    def _at(self, key: str) -> str:
        path = os.path.join(self._root, key)
        files.private_folder(os.path.dirname(path))
        return path


def main(arguments: List[str]) -> int:
    """`PROGRAM ROOT FOLDER BOXES SECRETS`, in the pod; the job's exit code."""
    program, root, folder, boxes, secrets = arguments
    vendor = Volume(root, secrets)
    if vendor.get(folder + "/" + OVER) is not None:
        print("mlbroker: this attempt was called off", file=sys.stderr)
        return 1
    vendor.put("{}/0/{}".format(folder, BEGAN), str(time.time()).encode())
    box = os.path.join(boxes, os.path.basename(folder))
    files.private_folder(box)

    def told_to_go(*_: Any) -> None:
        vendor.told_to_go = True

    # As process 1 of its container it would not even notice.
    signal.signal(signal.SIGTERM, told_to_go)
    courier = Courier(program, box, vendor, folder, vendor.rank())
    repeat = threading.Thread(target=_repeat, args=(box,), daemon=True)
    repeat.start()
    courier.run()
    repeat.join(5)
    end = files.read_json(box, files.END) or {}
    code = end.get("exit_code")
    return code if isinstance(code, int) else 1


def _repeat(box: str) -> None:
    """The job's output once more as the container's, for `kubectl logs`."""
    path = os.path.join(box, files.LOG)
    while not os.path.exists(path):
        time.sleep(0.2)
    with open(path, "rb") as log:
        while True:
            alive = is_alive(box)
            for chunk in iter(lambda: log.read(1 << 16), b""):
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            if not alive:
                return
            time.sleep(0.5)
