"""The simulated vendor with a real bucket, from where every byte home is paid for."""

import io
import tarfile
from pathlib import Path

from obstore.store import MemoryStore
from tests.support.simulator import Service, SimCloud

from mlbroker.broker.clouds.bucket import BucketBox, run_folder
from mlbroker.broker.clouds.interface import Intent, Left, Machine, Payload

PART_BYTES = 400_000


class LeavingCloud(SimCloud):
    """Each machine leaves a checkpoint and outputs of these sizes; outputs come in parts.

    `sent` counts the bytes that left the bucket. With `dies_after` so many copies, the client does.
    """

    def __init__(self, service: Service, checkpoint: int, outputs: int) -> None:
        super().__init__(service)
        self.checkpoint, self.outputs = checkpoint, outputs
        self.sent = 0
        self.dies_after: int | None = None
        self.store = MemoryStore()

    def create(self, intent: Intent, payload: Payload) -> Machine:
        machine = super().create(intent, payload)
        folder = f"{run_folder(intent.token)}/0"
        if self.checkpoint:
            self.store.put(f"{folder}/checkpoint.tar", bytes(self.checkpoint))
        data = tar_of(self.outputs) if self.outputs else b""
        for began in range(0, len(data), PART_BYTES):
            part = data[began : began + PART_BYTES]
            self.store.put(f"{folder}/outputs.tar/{began:015d}", part)
        return machine

    def left(self, intent: Intent, name: str, rank: int = 0) -> Left | None:
        return self._box(intent).left(name, rank)

    def fetch(
        self, intent: Intent, name: str, target: Path, rank: int = 0, most_bytes: int | None = None
    ) -> bool:
        there = self.left(intent, name, rank)
        self.sent += there.bytes if there else 0
        if self.dies_after is not None and there is not None:
            self.dies_after -= 1
            if self.dies_after < 0:
                self.dies_after = None
                raise KeyboardInterrupt
        return self._box(intent).fetch(name, target, rank, most_bytes)

    def discard(self, intent: Intent) -> None:
        super().discard(intent)
        self._box(intent).discard()

    def kept(self) -> set[str]:
        """What lies in the bucket."""
        return {meta["path"] for batch in self.store.list() for meta in batch}

    def _box(self, intent: Intent) -> BucketBox:
        return BucketBox(self.store, "bucket b", run_folder(intent.token))


def tar_of(size: int) -> bytes:
    """An archive with one file of that size."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        entry = tarfile.TarInfo("model.bin")
        entry.size = size
        archive.addfile(entry, io.BytesIO(bytes(size)))
    return data.getvalue()
