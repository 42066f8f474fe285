"""What was seen of a job at several batches: its steps, and the noise of its gradient."""

from collections.abc import Sequence
from typing import NamedTuple

from mlbroker.profiles.batch import Batch
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.noise_seen import NoiseSeen, noise_of


class BatchesSeen(NamedTuple):
    """Measurements at all batches, the job's own among them, and φ; None where it is not known."""

    rows: tuple[Measurement, ...]
    noise: NoiseSeen | None

    @classmethod
    def of(cls, batch: Batch, rows: Sequence[Measurement]) -> "BatchesSeen":
        """All that measurements tell."""
        return cls(tuple(rows), latest_noise(batch, rows))

    def sizes(self, batch: Batch) -> frozenset[int]:
        """The batches whose steps were measured, on any machine."""
        return frozenset(size_of(batch, row) for row in self.rows if has_step(row))

    def enough(self, batch: Batch) -> bool:
        """Whether another batch can be chosen by it: φ, and steps at two batches or more."""
        return self.noise is not None and len(self.sizes(batch)) > 1


def has_step(row: Measurement) -> bool:
    """Whether it tells the time of a step, and not of the whole work or of a failure."""
    return row.status is Status.OK and row.steps is not None


def size_of(batch: Batch, row: Measurement) -> int:
    """The batch it was measured at: the job's own where it does not say."""
    return row.batch_size or batch.size


def latest_noise(batch: Batch, rows: Sequence[Measurement]) -> NoiseSeen | None:
    """φ as it was measured last, at the job's own batch before others."""
    for row in sorted(rows, key=lambda row: (row.batch_size == batch.size, str(row.measured_at)))[
        ::-1
    ]:
        seen = noise_of(row.extra, row.batch_size)
        if seen is not None:
            return seen
    return None
