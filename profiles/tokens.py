"""What the probe saw of a job's text batches, and the step time that follows from their size."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# Sizes that differ less than by this factor say nothing of how the time grows with them.
LEAST_RANGE = 1.3
# A fit that misses a size by more than this share is none.
WORST_MISS = 0.25
# Fewer steps of a size are chance.
LEAST_STEPS = 3
# Nobody counts further; the job may write what it likes.
_COUNT = re.compile(r"\d{1,18}")
_NUMBER = re.compile(r"\d{1,18}(\.\d{1,18})?(e[+-]?\d{1,2})?")
_BY = ("mask", "pad id", "labels", "guess", "packed")


class Size(NamedTuple):
    """Steps of like size: means of B·L and B·L² (rows times width) and the median time."""

    steps: int
    slots: float
    squares: float
    time_s: float


class StepLaw(NamedTuple):
    """A step takes `fixed_s` + `per_slot_s`·B·L + `per_square_s`·B·L² seconds, of sizes from
    `least_slots` to `most_slots`; beyond them it is a hint.
    """

    fixed_s: float
    per_slot_s: float
    per_square_s: float
    least_slots: float
    most_slots: float

    def step_s(self, slots: float, squares: float) -> float:
        """Seconds of a step of this size."""
        return self.fixed_s + self.per_slot_s * slots + self.per_square_s * squares


@dataclass(frozen=True, slots=True)
class Tokens:
    """Sums over `steps` steps: `real` tokens in `padded` places.

    `by` tells who says what is real: mask, pad id, labels, packed (no padding), or guess. `lengths`
    are rows by the least power of two that their real length does not exceed (0: empty). `labelled`
    places bear a loss, None where places have no labels.
    """

    real: int
    padded: int
    steps: int
    by: str
    lengths: Mapping[int, int]
    sizes: Sequence[Size]
    labelled: int | None = None

    @property
    def padding_share(self) -> float:
        """Of all places, those that hold no token."""
        return 1 - self.real / self.padded

    @property
    def labelled_share(self) -> float | None:
        """Of all places, those that bear a loss; None where places have no labels."""
        return None if self.labelled is None else self.labelled / self.padded

    @property
    def real_per_step(self) -> float:
        """Real tokens of a step, mean."""
        return self.real / self.steps


def tokens_of(extra: Mapping[str, str]) -> Tokens | None:
    """What a measurement's `extra` tells of tokens; None where it tells nothing that can be."""
    names = ("tokens_real", "tokens_padded", "tokens_steps")
    told = [extra.get(name, "") for name in names]
    if not all(_COUNT.fullmatch(text) for text in told):
        return None
    real, padded, steps = map(int, told)
    by = extra.get("tokens_by", "")
    if not (steps > 0 and 0 <= real <= padded and padded > 0 and by in _BY):
        return None
    lengths = {int(pair[0]): int(pair[1]) for pair in _parts(extra, "tokens_lengths", 2)}
    sizes = [Size(int(p[0]), *map(float, p[1:])) for p in _parts(extra, "tokens_sizes", 4)]
    text = extra.get("tokens_labelled", "")
    labelled = int(text) if _COUNT.fullmatch(text) and int(text) <= padded else None
    return Tokens(real, padded, steps, by, lengths, [s for s in sizes if min(s) > 0], labelled)


def _parts(extra: Mapping[str, str], name: str, fields: int) -> list[list[str]]:
    """The words of a note, each of so many numbers between colons, the first ones counts."""
    words = [word.split(":") for word in extra.get(name, "").split()]
    counts = 2 if fields == 2 else 1
    return [
        word
        for word in words
        if len(word) == fields
        and all(_COUNT.fullmatch(text) for text in word[:counts])
        and all(_NUMBER.fullmatch(text) for text in word[counts:])
    ]


def step_law(sizes: Sequence[Size]) -> StepLaw | None:
    """The law of the sizes seen, no part of it negative; None where they are too alike or too few,
    or follow no such law.

    The part with B·L² is only asked for from three sizes on.
    """
    seen = [size for size in sizes if size.steps >= LEAST_STEPS]
    slots = [size.slots for size in seen]
    if len(seen) < 2 or max(slots) < LEAST_RANGE * min(slots):
        return None
    import numpy as np
    from scipy.optimize import nnls

    times = np.array([size.time_s for size in seen])
    rows = np.array([[1.0, size.slots, size.squares] for size in seen])
    scale = rows.max(axis=0)
    if len(seen) < 3:
        rows[:, 2] = 0.0
    # Relative errors count, of many steps more than of few.
    weight = np.sqrt([size.steps for size in seen]) / times
    found, _ = nnls(rows / scale * weight[:, None], times * weight)
    missed = np.abs(rows / scale @ found / times - 1).max()
    if missed > WORST_MISS or not math.isfinite(missed):
        return None
    fixed, per_slot, per_square = (float(x) for x in found / scale)
    return StepLaw(fixed, per_slot, per_square, min(slots), max(slots))
