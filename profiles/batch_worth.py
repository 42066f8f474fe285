"""The batches that a job may have beside its own, and what a step of each is worth.

Imports numpy: import it inside functions.
"""

import math
from typing import NamedTuple

from mlbroker.profiles.batch import Batch, BatchAt, LrRule
from mlbroker.profiles.batches_seen import BatchesSeen
from mlbroker.profiles.noise import RUN_SIGMA, efficiency, gain, lr_scale

_SQRT2 = math.sqrt(2)


class Worth(NamedTuple):
    """A batch, and how many steps at the job's own batch one step there stands for (`gain`).

    `sigma_log` is how far off the gain may be, as φ is.
    """

    at: BatchAt
    gain: float
    sigma_log: float


def worths(batch: Batch, nodes: int, seen: BatchesSeen) -> tuple[Worth, ...]:
    """The job's own batch, and what else it may have, smallest first, where φ is known.

    φ counts as it was measured. It mostly grows in training, by which larger batches are better
    than said; that it falls is in the width.
    """
    assert seen.noise is not None
    phi, own = seen.noise.noise, batch.size
    sigma = max(seen.noise.sigma_log, RUN_SIGMA)
    rule = LrRule.NONE if batch.rate is None else batch.rate.rule
    found = []
    for size in sizes(batch, nodes, seen):
        low, high = (float(gain(phi * math.exp(z), own, size)) for z in (-sigma, sigma))
        at = BatchAt(
            size,
            batch.passes(size, nodes),
            float(efficiency(phi, own, size)),
            None if batch.rate is None else lr_scale(phi, own, size, rule),
        )
        found.append(Worth(at, float(gain(phi, own, size)), abs(math.log(high / low)) / 2))
    return tuple(found)


def sizes(batch: Batch, nodes: int, seen: BatchesSeen) -> list[int]:
    """From the job's own up to the largest that is allowed, √2 apart, and those measured.

    They are multiples of half the job's own where nodes share that evenly, else of all of it: what
    ranks and passes divided before, they still do.
    """
    half = batch.size // 2
    unit = half if half and batch.size % 2 == 0 and half % nodes == 0 else batch.size
    most = batch.most // unit * unit
    found = {batch.size, most}
    wanted = float(batch.size)
    while wanted <= batch.most:
        found.add(round(wanted / unit) * unit)
        wanted *= _SQRT2
    found |= {size for size in seen.sizes(batch) if size % nodes == 0}
    return sorted(size for size in found if batch.size <= size <= batch.most)
