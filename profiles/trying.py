"""What a trial of remedies proves: how much time they save, and whether losses stay the same.

Arms are the job as it is and the job with remedies, in turn, so that what the machine does
meanwhile falls on all alike.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mlbroker.profiles.job import TextRemedies

# One-sided: with this chance a remedy saves more than is claimed.
CONFIDENCE = 0.9
# Trimming changes nothing that is computed: losses at no dropout differ by rounding alone.
SAME_LOSS = 1e-5
# bfloat16 keeps 8 binary digits: whatever is computed in it is rounded by up to 2^-8 of itself.
# Mean losses may differ by one such rounding, and single ones by the sum of some.
BF16_ROUNDING = 2.0**-8
BF16_LOSS = 4 * BF16_ROUNDING
# Grouping meets rows in another order. So improbable a difference of mean losses is none of chance
# (two-sided), and one that is not known to this share of the loss is not known.
CHANCE = 0.01
LARGEST_NOISE = 0.2
LEAST_LOSSES = 20


class Saving(NamedTuple):
    """Shares of the time: as seen, and with `CONFIDENCE` at least. Negative where it is slower."""

    seen: float
    least: float


@dataclass(frozen=True, slots=True)
class Arm:
    """Remedies as they were tried. `step_s` are mean seconds of a step, a round each.

    `of_step` is what a step saves, `of_run` what the steps of a whole run do, None where that is
    not known. `withdrawn` is why nothing is claimed, None where it is. `lengths` tells where
    grouping has its lengths from: column or masks.
    """

    remedies: str
    step_s: tuple[float, ...]
    of_step: Saving | None
    of_run: Saving | None
    losses: str | None
    withdrawn: str | None
    lengths: str | None = None

    @property
    def proven(self) -> bool:
        """Whether it saves time, at least something, and changes no loss."""
        return self.withdrawn is None


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial on one machine: `base_s` are the job's own step times, a round each.

    `rows` is how many rows a step has, None where that is unknown.
    """

    config: str
    steps: int
    base_s: tuple[float, ...]
    rows: int | None
    arms: tuple[Arm, ...]

    @property
    def best(self) -> Arm | None:
        """Of what is proven, that which surely saves most."""
        proven = [arm for arm in self.arms if arm.proven and arm.of_step is not None]
        return max(proven, key=lambda arm: arm.of_step.least if arm.of_step else 0.0, default=None)


def saving(base_s: Sequence[float], other_s: Sequence[float]) -> Saving:
    """From step times of rounds, each of which had both: by the logarithms of their ratios, which
    are taken for normal (Student's t). Two rounds at least.
    """
    from scipy import special

    logs = [math.log(other / base) for base, other in zip(base_s, other_s, strict=True)]
    mean = sum(logs) / len(logs)
    sd = math.sqrt(sum((x - mean) ** 2 for x in logs) / (len(logs) - 1))
    reach = float(special.stdtrit(len(logs) - 1, CONFIDENCE)) * sd / math.sqrt(len(logs))
    return Saving(1 - math.exp(mean), 1 - math.exp(mean + reach))


def of_run(step: Saving, before: Saving, epochs: float | None) -> Saving | None:
    """Where the first of so many epochs goes without the last remedy, as `before`; None where the
    epochs are unknown."""
    if epochs is None:
        return None
    first = min(1.0, 1 / epochs)
    return Saving(
        first * before.seen + (1 - first) * step.seen,
        first * before.least + (1 - first) * step.least,
    )


def largest_difference(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Of losses in the same steps, as a share of the loss where that exceeds 1; None where there
    is none to compare."""
    pairs = list(zip(one, other, strict=False))
    if not pairs:
        return None
    found = max(abs(a - b) / max(1.0, abs(a)) for a, b in pairs)
    return found if math.isfinite(found) else math.inf


def mean_losses(
    base: Sequence[Sequence[float]], other: Sequence[Sequence[float]], same: float = SAME_LOSS
) -> tuple[str, bool]:
    """How the mean losses over the same steps differ, in words, and whether that is chance, or no
    more than the share `same` of the loss.

    Losses of one step are paired, as both fall while the job learns. Rounds that start alike are
    no more evidence than one: they are averaged first.
    """
    from scipy import special

    steps = min(map(len, [*base, *other]), default=0)
    if steps < LEAST_LOSSES:
        return f"only {steps} losses were seen", False

    def mean(rounds: Sequence[Sequence[float]]) -> list[float]:
        return [sum(losses[i] for losses in rounds) / len(rounds) for i in range(steps)]

    ours, theirs = mean(base), mean(other)
    gaps = [b - a for a, b in zip(ours, theirs, strict=True)]
    gap = sum(gaps) / steps
    sd = math.sqrt(sum((g - gap) ** 2 for g in gaps) / (steps - 1))
    noise = float(special.stdtrit(steps - 1, 1 - CHANCE / 2)) * sd / math.sqrt(steps)
    level = abs(sum(ours) / steps)
    words = f"mean losses differ by {gap:+.3g} of {level:.3g}, noise ±{noise:.2g}"
    if not math.isfinite(gap):
        return "losses are no numbers", False
    if noise > LARGEST_NOISE * level:
        return f"{words}: too much to tell", False
    return words, abs(gap) <= max(noise, same * level)


def losses_of(notes: Mapping[str, str]) -> list[float]:
    """Those that the probe told, in their order, until one is missing."""
    found: list[float] = []
    while (text := notes.get(f"loss_{len(found)}")) is not None:
        try:
            values = [float(word) for word in text.split()]
        except ValueError:
            break  # somebody else's words
        if not values:
            break
        found += values
    return found


def as_remedies(text: str) -> TextRemedies:
    """What of an arm a job file can ask for: `trim,group=50` as its block."""
    wishes = dict(word.partition("=")[::2] for word in text.split(","))
    group = wishes.get("group")
    return TextRemedies("trim" in wishes, None if group is None else int(group))
