"""Carries between a rented machine's box and the user's bucket: job in; report, log, files out.

Nobody connects to the machine: it fetches what it is to do, and leaves what there is to know.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import box as files
from .main import get
from .pace import wait_s
from .vendor import Vendor, opened
from .watchdog import is_alive

LOG_PART_BYTES = 4 << 20
OUTPUTS_PART_BYTES = 32 << 20
# A report that says nothing new is a sign of life, and tells how busy the machine is.
SIGN_OF_LIFE_S = 60.0
_ALWAYS_NEW = ("at", "elapsed_s", "cpu", "gpu", "idle_s")
# What the kill switches leave for the last files to travel: a quarter of its life at most.
MARGIN_S = 60.0
PEERS_WITHIN_S = 600.0
# A run of several machines is over when one of them ended so: nobody else may be there to see it.
_ENDS_ALL = ("failed", "setup_failed", "machine_failed", "preempted")


class Courier:
    """One machine of a run. `shared` is the run's folder in the bucket, `own` this machine's."""

    def __init__(self, program: str, box: str, vendor: Vendor, shared: str, rank: int) -> None:
        self._program = program
        self._box = box
        self._vendor = vendor
        self._shared = shared
        self._rank = rank
        self._own = "{}/{}".format(shared, rank)
        self._pushed: Dict[str, Tuple[int, int]] = {}
        self._bytes = {files.LOG: 0, files.CHECKPOINT: 0}
        self._began = time.monotonic()
        self._pace: Dict[str, List[float]] = {}
        self._heed_at = self._carry_at = self._told_at = 0.0
        self._told: Dict[str, Any] = {}
        self._nodes = 1
        self._told_end = False

    def run(self) -> None:
        """Start the job, carry until it has ended, and leave the end record last of all."""
        self._start()
        while is_alive(self._box):
            self._look()
            time.sleep(0.1)
        # The machine has nothing left to do but this: it tries until its kill time.
        while True:
            try:
                self._leave()
                return
            except (OSError, ValueError) as error:
                self._await_again(error)

    def _await_again(self, error: Exception) -> None:
        """A request that was refused may be paid all the same."""
        print("courier: {}".format(error), file=sys.stderr, flush=True)
        time.sleep(self._wait_s("writes", time.monotonic() - self._began))

    def _leave(self) -> None:
        # How the job ended is told before its files travel: should the machine be taken away
        # meanwhile, nobody runs the job again for want of them.
        self._report(None)
        self._push_file(files.CHECKPOINT)
        while self._push_log():
            pass
        self._push_outputs()
        end = files.read_json(self._box, files.END)
        end = end or {
            "why": "machine_failed", "exit_code": None, "detail": "the supervisor is gone",
        }  # fmt: skip
        self._report(end)
        if self._nodes > 1 and end["why"] in _ENDS_ALL:
            # Only after its own report: who follows must not seem to be the first.
            self._vendor.put(self._shared + "/stop", files.FOLLOWS.encode())

    def _fetched(self) -> Dict[str, Any]:
        """What this machine is to do; the files for it are in the box then."""
        spec: Dict[str, Any] = json.loads(self._needed("spec.json"))
        for name in (files.BUNDLE, files.RESTORE):
            self._vendor.get_file(self._shared + "/" + name, os.path.join(self._box, name))
        self._nodes, self._pace = spec["nodes"], spec["pace"]
        return spec

    def _start(self) -> None:
        spec = self._fetched()
        left = spec["kill_at"] - time.time()
        spec["lifetime_s"] = max(1.0, left - min(MARGIN_S, left * 0.25))
        if self._nodes > 1:
            # Its own processes' mark: another of the run may stand on the same kernel.
            spec["token"] += "-n{}".format(self._rank)
            spec["facts"] = dict(spec.get("facts") or {}, **self._meet(spec["nodes"]))
        secrets = self._secrets(spec)
        started = subprocess.run(
            [sys.executable, "-I", "-S", self._program, "start", self._box],
            input=json.dumps({"spec": spec, "secrets": secrets}).encode(),
            stdout=subprocess.DEVNULL,
            env=self._environment(),
            check=False,
        )
        if started.returncode != 0:
            raise SystemExit("the supervisor did not start")

    def _needed(self, name: str) -> bytes:
        found = self._vendor.get(self._shared + "/" + name)
        if found is None:
            raise SystemExit("the bucket has no " + name)
        return found

    def _secrets(self, spec: Dict[str, Any]) -> Dict[str, str]:
        names: List[str] = spec["secret_names"]
        if not names:
            return {}
        path = spec["secrets_at"]
        found = self._vendor.secrets(path)
        if set(names) - set(found):
            raise SystemExit("secrets are missing: " + ", ".join(sorted(set(names) - set(found))))
        if spec["nodes"] == 1:
            self._vendor.forget_secrets(path, names)
        return found

    def _meet(self, nodes: int) -> Dict[str, str]:
        """Tell the others this machine's address, and learn theirs."""
        address = self._vendor.address()
        self._vendor.put("{}/address".format(self._own), address.encode())
        addresses: List[str] = []
        began = time.monotonic()
        while len(addresses) < nodes:
            key = "{}/{}/address".format(self._shared, len(addresses))
            found = self._vendor.get(key)
            if found is not None:
                addresses.append(found.decode())
            elif time.monotonic() - began > PEERS_WITHIN_S:
                raise SystemExit("machine {} of the run did not come".format(len(addresses)))
            else:
                time.sleep(self._wait_s("heeds", time.monotonic() - began))
        return node_facts(self._rank, addresses)

    def _environment(self) -> Dict[str, str]:
        """With a Python of its own where the image has none to install packages into."""
        environment = dict(os.environ)
        if not (_on_path("pip") and _on_path("python")):
            own = os.path.join(self._box, "env")
            made = subprocess.run(
                [sys.executable, "-m", "venv", "--system-site-packages", own], check=False
            )
            if made.returncode == 0:
                environment["VIRTUAL_ENV"] = own
                environment["PATH"] = os.path.join(own, "bin") + ":" + environment["PATH"]
        return environment

    def _wait_s(self, what: str, age_s: float) -> float:
        shortest_s, longest_s, slowing = self._pace[what]
        return wait_s(shortest_s, longest_s, slowing, age_s)

    def _look(self) -> None:
        """What is due. Each request is paid, so that they come at the pace that the bill knows."""
        now = time.monotonic()
        age_s = now - self._began
        try:
            if now >= self._heed_at:
                self._heed_at = now + self._wait_s("heeds", age_s)
                self._heed()
            ends = not self._told_end and files.read(self._box, files.END) is not None
            if now >= self._carry_at or ends:
                self._told_end = self._told_end or ends
                each_s = self._wait_s("writes", age_s)
                self._carry_at = now + each_s
                self._carry_at = now + each_s * max(1, self._carry())
        except (OSError, ValueError) as error:
            # The bucket does not answer: the job goes on, and the next look tries again.
            print("courier: {}".format(error), file=sys.stderr, flush=True)

    def _carry(self) -> int:
        """How many objects were written: none where nothing has changed."""
        return self._push_file(files.CHECKPOINT) + self._push_log() + self._report(None)

    def _heed(self) -> None:
        """Pass on what the launching side, or the vendor, wants."""
        if files.read(self._box, files.STOP) is not None:
            return
        if self._vendor.interruption() is not None:
            files.write_reserved(self._box, files.STOP, "preempted")
            return
        asked = self._vendor.get(self._shared + "/stop")
        if asked is not None:
            files.write_reserved(self._box, files.STOP, asked.decode("utf-8", "replace"))

    def _push_file(self, name: str) -> bool:
        path = os.path.join(self._box, name)
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return False
        signature = (found.st_size, found.st_mtime_ns)
        if self._pushed.get(name) == signature:
            return False
        self._vendor.put_file(self._own + "/" + name, path)
        self._pushed[name] = signature
        self._bytes[name] = found.st_size
        return True

    def _push_outputs(self) -> None:
        """Packed on their way, in parts named by where they begin: the disk may have no room."""
        key = "{}/{}".format(self._own, files.OUTPUTS_TAR)
        parts = _Parts(self._vendor, key, self._await_again)
        get(self._box, files.OUTPUTS_TAR, parts)
        parts.close()

    def _push_log(self) -> bool:
        """One part of what the log has grown by; False when nothing was left."""
        offset = self._bytes[files.LOG]
        try:
            with open(os.path.join(self._box, files.LOG), "rb") as log:
                log.seek(offset)
                data = log.read(LOG_PART_BYTES)
        except FileNotFoundError:
            return False
        if data:
            # Named by where it begins: a part that is sent again lies where it lay.
            self._vendor.put("{}/log/{:015d}".format(self._own, offset), data)
            self._bytes[files.LOG] = offset + len(data)
        return bool(data)

    def _report(self, end: Optional[Dict[str, Any]]) -> bool:
        report: Dict[str, Any] = {
            "status": files.read_json(self._box, files.STATUS),
            "ended": files.read_json(self._box, files.END),
            "end": end,
            "log_bytes": self._bytes[files.LOG],
            "checkpoint_bytes": self._bytes[files.CHECKPOINT],
        }
        status, now = report["status"] or {}, time.monotonic()
        new = {name: value for name, value in status.items() if name not in _ALWAYS_NEW}
        told = dict(report, status=new)
        if told == self._told and now < self._told_at + SIGN_OF_LIFE_S:
            return False
        self._vendor.put(self._own + "/report.json", json.dumps(report, sort_keys=True).encode())
        self._told, self._told_at = told, now
        return True


class _Parts:
    """Objects one after the other, as of one long stream."""

    def __init__(self, vendor: Vendor, key: str, await_again: Callable[[Exception], None]) -> None:
        self._vendor = vendor
        self._key = key
        self._await_again = await_again
        self._offset = 0
        self._held = bytearray()

    def write(self, data: bytes) -> None:
        """Some more of it."""
        self._held += data
        while len(self._held) >= OUTPUTS_PART_BYTES:
            self._put(OUTPUTS_PART_BYTES)

    def close(self) -> None:
        """The last part."""
        if self._held:
            self._put(len(self._held))

    def _put(self, size: int) -> None:
        data = bytes(self._held[:size])
        del self._held[:size]
        while True:
            try:
                self._vendor.put("{}/{:015d}".format(self._key, self._offset), data)
                break
            except (OSError, ValueError) as error:
                # There is nothing left to do but this, until the machine's own end.
                self._await_again(error)
        self._offset += size


def node_facts(rank: int, addresses: List[str]) -> Dict[str, str]:
    """What a job of several machines is told; SkyPilot's names too, so that its jobs run as is."""
    return {
        "MLBROKER_NODE_RANK": str(rank),
        "MLBROKER_NODES": str(len(addresses)),
        "MLBROKER_MASTER_ADDR": addresses[0],
        "MLBROKER_NODE_IPS": "\n".join(addresses),
        "SKYPILOT_NODE_RANK": str(rank),
        "SKYPILOT_NUM_NODES": str(len(addresses)),
        "SKYPILOT_NODE_IPS": "\n".join(addresses),
    }


def _on_path(program: str) -> bool:
    folders = os.environ.get("PATH", "").split(":")
    return any(os.access(os.path.join(folder, program), os.X_OK) for folder in folders)


def main(arguments: List[str]) -> int:
    """`PROGRAM CLOUD REGION BUCKET FOLDER BOX`, on a rented machine."""
    program, name, region, bucket, folder, box = arguments
    files.private_folder(box)
    vendor = opened(name, region, bucket)
    Courier(program, box, vendor, folder, vendor.rank()).run()
    return 0
