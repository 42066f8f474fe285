"""The gradient noise scale as it was measured: by the probe, or by the job itself."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

# Nobody's figures are longer; the job may write what it likes.
_NUMBER = re.compile(r"\d{1,18}(\.\d{1,18})?(e[+-]?\d{1,2})?")
_COUNT = re.compile(r"[1-9]\d{0,11}")
# The standard error of a figure that the job tells, of which it says nothing: see `noise`.
_TOLD_SIGMA = 0.3


@dataclass(frozen=True, slots=True)
class NoiseSeen:
    """φ in samples, measured at a batch of so many samples over all ranks and passes.

    `sigma_log` is the standard error of the logarithm of φ.
    """

    noise: float
    batch: float
    sigma_log: float
    told_by_job: bool = False


def noise_of(extra: Mapping[str, str], batch: int | None = None) -> NoiseSeen | None:
    """What a measurement's `extra` tells of the noise; None where it tells nothing that can be.

    What the job says of itself comes first. The probe counts in batches: how many samples there
    were in one it knows from a DataLoader, else `batch` says it.
    """
    words = extra.get("noise_told", "").split()
    if len(words) == 2 and (noise := _above_zero(words[0])) and (at := _above_zero(words[1])):
        return NoiseSeen(noise, at, _TOLD_SIGMA, told_by_job=True)
    counted = extra.get("noise_batch", "")
    size = int(counted) if _COUNT.fullmatch(counted) else batch
    per_batch = _above_zero(extra.get("noise_per_batch", ""))
    sigma = _above_zero(extra.get("noise_sigma", ""))
    if size is None or per_batch is None or sigma is None:
        return None
    return NoiseSeen(per_batch * size, size, sigma)


def why_unknown(extra: Mapping[str, str]) -> str | None:
    """Why the probe could not tell it, in words; None where it says nothing of that."""
    return extra.get("noise_unknown")


def misfits(extra: Mapping[str, str]) -> list[str]:
    """What of the job sees another training at another batch, in sentences."""
    said = []
    if norm := extra.get("batch_norm"):
        said.append(f"It normalises by the batch ({norm}), which another batch changes.")
    if schedule := extra.get("schedule"):
        said.append(f"Its learning rate follows {schedule}, which are another number then.")
    return said


def _above_zero(text: str) -> float | None:
    value = float(text) if _NUMBER.fullmatch(text) else 0.0
    return value if 0 < value < math.inf else None
