"""Guests that lie: what they leave in the bucket, and in the box on one's own machine."""

from pathlib import Path
from random import Random

from obstore.store import MemoryStore
from tests.support.hostile_archives import Surroundings, hostile_archive
from tests.support.mutations import hostile_bytes, hostile_json
from tests.support.simulator import Service, SimCloud

from mlbroker.broker.clouds.bucket import BucketBox, run_folder
from mlbroker.broker.clouds.guest_report import joint_report
from mlbroker.broker.clouds.interface import Intent, Report

FIGURES = {
    "setup_s": 1.5, "command_s": 11.0, "points": [[1, 0.5], [12, 11.0]], "steps": 100,
    "resumed": False, "cpu": 0.9, "gpu": None, "gpu_w": 61.5,
    "package_j": 120.0, "unused_s": 0.5, "saved_s": 9.0,
    "peak_memory_gib": 0.5, "peak_gpu_memory_gib": None,
    "machine": {"vcpus": 2, "memory_gib": 7.5, "arch": "x86_64", "cpu": "x", "gpus": []},
}  # fmt: skip
STATUS = {
    "phase": "running", "at": 1.7e9, "elapsed_s": 12.5, "step": 12, "steps": 100, "cpu": 0.9,
    "gpu": None, "idle_s": 0.0, "checkpoint_at": 1.7e9,
    "counted_by": "output", "figures": FIGURES,
}  # fmt: skip
END = {
    "why": "finished", "exit_code": 0, "detail": None, "elapsed_s": 20.0, "step": 100,
    "steps": 100, "log_bytes_dropped": 0, "counted_by": "output", "figures": FIGURES,
}  # fmt: skip
REPORT = {
    "status": STATUS, "end": None, "log_bytes": 8, "checkpoint_bytes": 100, "outputs_bytes": 100,
}  # fmt: skip
ENDED = {**REPORT, "end": END}
LOG = b"step 1 of 100\n\x1b[31mred\x1b[0m\nline without an end"


def hostile_log(chance: Random) -> bytes:
    odd = (LOG, b"", b"\0" * 70_000, b"\n" * 70_000, b"\x1b]0;owned\x07\r" * 100, b"\xff\xfe")
    return chance.choice((*odd, hostile_bytes(chance, LOG), chance.randbytes(5000)))


class LyingCloud(SimCloud):
    """The simulated vendor's machines, whose guest says and leaves anything in a real bucket."""

    def __init__(self, service: Service, around: Surroundings, chance: Random) -> None:
        super().__init__(service)
        self._around = around
        self._chance = chance
        self._store = MemoryStore()
        self._laid: set[str] = set()

    def _box(self, intent: Intent) -> BucketBox:
        return BucketBox(self._store, "bucket b", run_folder(intent.token))

    def _put(self, intent: Intent, name: str, data: bytes) -> None:
        self._store.put(f"{run_folder(intent.token)}/{name}", data)

    def report(self, intent: Intent) -> Report:
        with self._call("report"):
            for rank in range(intent.nodes):
                self._lay(intent, rank)
            return joint_report(self._box(intent).reports(intent.nodes))

    def _lay(self, intent: Intent, rank: int) -> None:
        """Another report at every look; the files lie there from the first one on."""
        chance = self._chance
        ended = chance.random() < 0.3
        self._put(intent, f"{rank}/report.json", hostile_json(chance, ENDED if ended else REPORT))
        mark = f"{intent.token}/{rank}"
        if mark in self._laid:
            return
        self._laid.add(mark)
        for name in ("checkpoint.tar", "outputs.tar"):
            if chance.random() < 0.7:
                data = hostile_archive(chance, self._around)
                cut = chance.randrange(len(data) + 1)
                if chance.random() < 0.5:
                    self._put(intent, f"{rank}/{name}", data)
                else:
                    # Outputs come in parts, each named by where it begins.
                    self._put(intent, f"{rank}/{name}/{0:015d}", data[:cut])
                    self._put(intent, f"{rank}/{name}/{cut:015d}", data[cut:])
        odd = ("000000000000000", "000000000000007", "999999999999999", "-5", "log", "0/0", "1e3")
        for name in chance.sample(odd, chance.randint(0, 4)):
            self._put(intent, f"{rank}/log/{name}", hostile_log(chance))

    def stop_job(self, intent: Intent, why: str) -> None:
        with self._call("stop_job"):
            self._box(intent).ask_to_stop(why)

    def read_log(self, intent: Intent, offset: int, rank: int = 0) -> bytes:
        with self._call("read_log"):
            return self._box(intent).read_log(offset, rank)

    def fetch(self, intent: Intent, name: str, target: Path, rank: int = 0) -> bool:
        with self._call("fetch"):
            return self._box(intent).fetch(name, target, rank)

    def discard(self, intent: Intent) -> None:
        with self._call("discard"):
            self._box(intent).discard()
